"""Every configuration key with its meaning and default: frozen values, one comment a key.

Sizes are octets, times are seconds; in the file they are written "50 MiB", "5m" (see `load`).
Paths are absolute here: relative ones are resolved against the file that names them.
"""

from __future__ import annotations

from pathlib import Path

from attrs import Factory, field, frozen

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@frozen
class Domain:
    """[domains."NAME"]: a domain whose mail is delivered here."""

    name: str  # lower case, A-labels; the table's key
    postmaster: str = ""  # user who gets postmaster@; default: the first user of the domain
    catch_all: str = ""  # user who gets mail for unknown local parts; default: they are refused
    subaddress: str = "+"  # alice+tag@ is alice; "" turns it off


@frozen
class Listen:
    """[listen]: Twisted endpoint strings for each service; an empty list turns a service off."""

    smtp: tuple[str, ...] = ("tcp:25",)
    submission: tuple[str, ...] = ("tcp:587",)
    submissions: tuple[str, ...] = ("tcp:465",)
    imap: tuple[str, ...] = ("tcp:143",)
    imaps: tuple[str, ...] = ("tcp:993",)
    pop3: tuple[str, ...] = ("tcp:110",)
    pop3s: tuple[str, ...] = ("tcp:995",)
    lmtp: tuple[str, ...] = ()
    sieve: tuple[str, ...] = ()
    http: tuple[str, ...] = ()


@frozen
class Certificate:
    """A certificate chain and its key, PEM files."""

    certificate: Path
    key: Path


@frozen
class Tls:
    """[tls] and [[tls.more]]: certificates and the least version."""

    certificate: Path | None = None  # full chain; absent: self-signed, made once in data_dir
    key: Path | None = None
    minimum: str = "1.2"  # "1.2" or "1.3"
    more: tuple[Certificate, ...] = ()  # further certificates, chosen by SNI
    client_ca: Path | None = None  # who signs users' certificates; absent: clients are not asked for one
    client_crl: tuple[Path, ...] = ()  # certificates that these have revoked, PEM or DER; read at each reload


@frozen
class OAuth:
    """[auth.oauth]: who says whether an access token is good (RFC 7662)."""

    url: str  # "introspection" in the file: the endpoint that is asked
    client_id: str = ""  # this server's log-in there
    client_secret: str = field(default="", repr=False)
    user_claim: str = "username"  # the member of the answer that names the user
    scope: str = ""  # what a token must be good for
    audience: str = ""  # for whom it must have been issued (RFC 7662, 2.2: aud)
    openid_configuration: str = ""  # where clients learn how to get a token (RFC 7628, 3.2.2)
    timeout: float = 5.0  # for an answer
    cache: float = MINUTE  # how long an answer is believed; never longer than the token lives
    authority: Path | None = None  # PEM; who signs the endpoint's certificate; default: the system's


@frozen
class Auth:
    """[auth]"""

    allow_cleartext: bool = False  # PLAIN, LOGIN, USER without TLS
    max_failures: int = 5  # per connection, then it closes
    failure_delay: float = 2.0  # before a failure is answered; doubles from an address's sixth on
    max_delay: float = 15.0  # and this is the most
    user_failures: int = 20  # with one name, from anywhere, before the name is slowed down too
    cache: float = 300.0  # how long a successful log-in is remembered; 0: not at all
    threads: int = 2  # hashing threads
    backlog: int = 200  # hashes waiting at the most; beyond: "too busy"
    oauth: OAuth | None = None  # OAUTHBEARER and XOAUTH2


@frozen
class Without:
    """[[imap.without]]: capabilities that some clients stumble over, taken away from them."""

    capabilities: tuple[str, ...]  # as the server announces them
    reason: str  # for the log and for the next administrator
    users: tuple[str, ...] = ()  # whose sessions, by address; none: everybody's
    clients: tuple[str, ...] = ()  # names that clients give with ID (RFC 2971), with wildcards; none: any


@frozen
class Imap:
    """[imap]"""

    without: tuple[Without, ...] = ()
    literals: str = "LITERAL+"  # or "LITERAL-": at most 4096 octets without asking (RFC 7888, 5)
    message_limit: int = 0  # messages that one command works on, 0: any number (RFC 9738)
    save_limit: int = 0  # the same for COPY and APPEND alone
    headers_8bit: str = "accept"  # in APPEND from who has not enabled UTF-8; or "refuse" (RFC 9755, 4)
    administrators: tuple[str, ...] = ()  # users who may look at and set the quota of every user


@frozen
class Limits:
    """[limits]"""

    message_size: int = 50 * MIB
    recipients: int = 1000  # per transaction
    future_release: float = 30 * DAY  # how long users may have a message held back; 0: not at all
    min_deliver_by: float = 10.0  # least time within which mail may be asked to arrive or come back
    priority: int = 0  # the highest that users and trusted servers may ask for (RFC 6710)
    priority_networks: tuple[str, ...] = ()  # CIDRs of servers that are trusted in this
    priority_policy: str = "MIXER"  # as it is announced; "": none
    transactions: int = 0  # messages of one SMTP session, then it closes; 0: any
    connections_per_ip: int = 100
    connections_per_user: int = 50  # logged in at once, all services together
    connections: int = 10_000  # in all
    idle_timeout: float = 30 * MINUTE  # IMAP
    smtp_timeout: float = 5 * MINUTE  # RFC 5321, 4.5.3.2.7
    pop3_timeout: float = 10 * MINUTE  # RFC 1939, 3
    login_timeout: float = MINUTE  # until a log-in on IMAP and POP3
    output_timeout: float = 10 * MINUTE  # without reading anything of what waits for a client
    min_rate: int = 100  # octets a second that a message has to come at
    before_login: int = 256 * KIB  # octets before a log-in, where one is needed
    quota: int = 0  # default quota of a user, 0: none
    quota_messages: int = 0  # default number of messages that a user may keep, 0: any
    line: int = 64 * KIB  # IMAP: a command line after log-in (8 KiB before)
    errors: int = 20  # wrong commands per session, then it closes (3 before an IMAP log-in)
    commands: int = 1_000_000  # of one session, then it closes
    junk_commands: int = 100  # NOOP, RSET, VRFY … in a row without a message, then it closes
    hops: int = 50  # Received lines (RFC 5321, 6.3)
    alias_depth: int = 20
    keywords: int = 200  # different keywords in one mailbox
    metadata_size: int = 16 * KIB  # one annotation of a mailbox (RFC 5464)
    metadata_entries: int = 50  # annotations of one mailbox
    mailboxes: int = 10_000  # folders of one account
    queued_messages: int = 10_000  # of one sender waiting for other servers; 0: any number
    refuse_null_mx: bool = False  # mail from domains that take none, on port 25 (RFC 7505)
    min_free: int = 64 * MIB  # free disk space below which mail is deferred
    message_memory: int = 64 * MIB  # for all messages on their way in, in each process


@frozen
class Search:
    """[search]: what makes SEARCH TEXT and BODY quick."""

    index: bool = True  # keep an index of the words of each account; a user may have his own setting
    index_size: int = 2 * GIB  # of one account; what comes later is read by each search
    timeout: float = 2 * MINUTE  # of one SEARCH, SORT or THREAD


@frozen
class Smarthost:
    """A next hop with an optional log-in. A Unix socket stands as `unix:PATH` for its host."""

    host: str
    port: int = 25
    username: str = ""
    password: str = field(default="", repr=False)
    lmtp: bool = False  # RFC 2033: what is behind it has no queue


@frozen
class HopLimits:
    """[relay.limits."NAME"]: for the next hop of this domain or this host; 0: as [relay] says."""

    connections: int = 0
    messages_per_connection: int = 0
    rate: float = 0.0  # messages a second, written "30/1m"; 0: as fast as it goes


@frozen
class Relay:
    """[relay]: mail for domains that are not local."""

    smarthost: Smarthost | None = None  # "HOST[:PORT]", with `username`, `password` beside it
    resolver: str = ""  # "127.0.0.1:53"; default: the system's
    networks: tuple[str, ...] = ()  # CIDRs that may relay without AUTH
    retry: tuple[float, ...] = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR)  # the last repeats
    warn_after: float = 4 * HOUR  # a "delayed" DSN; 0: none
    expire_after: float = 5 * DAY  # a "failed" DSN
    connections_per_destination: int = 20
    connections: int = 100
    messages_per_connection: int = 100
    port: int = 25  # of MX hosts; another one only where the tests or a laboratory need it
    allow_loopback: bool = False  # MX hosts may be this machine; only for tests and laboratories
    routes: dict[str, Smarthost] = Factory(dict)  # by domain, "*.domain" for what is below it; or "lmtp:…"
    limits: dict[str, HopLimits] = Factory(dict)  # by domain or host of a next hop; "*.domain" likewise


@frozen
class Proxy:
    """[proxy]: who may tell that a client is another one."""

    networks: tuple[str, ...] = ()  # CIDRs of load balancers, on ports that are "haproxy:…" in [listen]
    xclient: tuple[str, ...] = ()  # CIDRs of SMTP proxies and filters that may use XCLIENT


@frozen
class Log:
    """[log]: one line per event of `audit.py`."""

    file: Path | None = None  # default: standard output, or data_dir/mail.log where that is closed
    format: str = "text"  # or "json"


@frozen
class User:
    """[users."ADDRESS"] of a users file."""

    address: str  # lower case local part and domain
    password: str = field(repr=False)  # a hash, see auth.passwords
    aliases: tuple[str, ...] = ()
    quota: int | None = None  # None: limits.quota
    quota_messages: int | None = None  # None: limits.quota_messages
    disabled: bool = False
    search_index: bool | None = None  # None: search.index
    certificates: tuple[str, ...] = ()  # SHA-256 fingerprints, lower case, without colons


@frozen
class Users:
    """All users files together. Dicts are in file order; keys are normalised addresses."""

    users: dict[str, User] = Factory(dict)
    aliases: dict[str, tuple[str, ...]] = Factory(dict)  # [aliases] and each user's own


@frozen
class Config:
    """mailserver.toml."""

    hostname: str
    data_dir: Path
    users_files: tuple[Path, ...]
    workers: int = 1
    domains: dict[str, Domain] = Factory(dict)
    listen: Listen = Listen()
    tls: Tls = Tls()
    auth: Auth = Auth()
    imap: Imap = Imap()
    limits: Limits = Limits()
    search: Search = Search()
    relay: Relay = Relay()
    proxy: Proxy = Proxy()
    log: Log = Log()
    extensions: tuple[str, ...] = ()  # "module:function", called with `service.Parts` before the start
    path: Path | None = None  # the file it was read from

    @property
    def mail_dir(self) -> Path:
        """mail/DOMAIN/LOCALPART/ are the Maildirs."""
        return self.data_dir / "mail"

    @property
    def queue_dir(self) -> Path:
        return self.data_dir / "queue"
