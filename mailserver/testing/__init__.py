"""A real server inside your tests, and all the mailboxes of the world with it.

    from mailserver.testing import Server

    def test_a_new_customer_is_welcomed():
        with Server() as server:
            sign_up("carol@customer.example", smtp=(server.host, server.ports["smtp"]))
            [welcome] = server.wait_for("carol@customer.example")
            assert welcome["Subject"] == "Welcome"

See docs/testing.rst.
"""

from mailserver.testing.server import Server, ServerFailed

__all__ = ["Server", "ServerFailed"]
