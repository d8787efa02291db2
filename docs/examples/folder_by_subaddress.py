"""Mail for bob+lists@DOMAIN goes into bob's folder "lists"; where he has no such folder, into his inbox."""

from attrs import evolve

from mailserver.delivery.routes import Router
from mailserver.interfaces import Target

DOMAIN = "example.org"


class FolderBySubaddress(Router):
    def step(self, mailbox):
        """One step on the way of an address: a Target, or the addresses that an alias stands for."""
        found = super().step(mailbox)
        folder = mailbox.local.partition("+")[2]
        if isinstance(found, Target) and found.user and folder and mailbox.domain == DOMAIN:
            return evolve(found, folder=folder)
        return found


def extend(parts):
    parts.router = FolderBySubaddress(parts.settings)
