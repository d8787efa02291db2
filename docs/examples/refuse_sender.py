"""Refuse mail from some domains, and from all that is below them."""

from mailserver.errors import MailError
from mailserver.smtp.policy import Policy

REFUSED = {"spam.example", "junk.example"}


class RefuseSender(Policy):
    def on_sender(self, transaction):
        """At MAIL FROM. The null reverse-path, from which reports come, has no domain and passes."""
        domain = transaction.reverse_path.rpartition("@")[2].lower()
        while domain:
            if domain in REFUSED:
                raise MailError("Mail from this domain is not taken here", code=550, enhanced="5.7.1")
            domain = domain.partition(".")[2]


def extend(parts):
    parts.filters.append(RefuseSender())
