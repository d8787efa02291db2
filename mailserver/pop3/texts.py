"""The words of the server and their translations (RFC 6856, 3: LANG).

A text is written in English and is its own key; one without a translation is sent in English. Braces are
filled in after translation.
"""

from __future__ import annotations

READY = "POP3 server ready"
BYE = "Bye"
CAPABILITIES = "Capability list follows"
MECHANISMS = "Mechanisms follow"
BEGIN_TLS = "Begin TLS negotiation"
USER_NOTED = "Send PASS"
UTF8_ON = "UTF-8 mode enabled"
LANGUAGES = "Language listing follows"
LANGUAGE_CHANGED = "Language changed"
MAILDROP = "{} messages ({} octets)"
OCTETS = "{} octets"
UNIQUE_IDS = "Unique-id listing follows"
TOP = "Top of message follows"
DELETED = "Message {} deleted"
NOTHING = "Nothing to do"

UNKNOWN_COMMAND = "Unknown command"
WRONG_STATE = "Command not valid in this state"
BAD_ARGUMENTS = "Invalid arguments"
BAD_UTF8 = "Not UTF-8"
BAD_BASE64 = "Cannot decode base64"
LINE_TOO_LONG = "Line too long"
NO_SUCH_MESSAGE = "No such message"
ALREADY_DELETED = "Message is marked for deletion"
NO_SUCH_LANGUAGE = "No such language"
NO_TLS = "TLS is not available"
TLS_ACTIVE = "TLS is active already"
NO_TLS_NOW = "STLS is not allowed after UTF8"
CANCELLED = "Authentication cancelled"
TOO_MANY_ERRORS = "Too many errors"
STOPPING = "The server stops, try again later"
NOT_REMOVED = "Some deleted messages were not removed"

NAMES = {"en": "English", "de": "Deutsch"}  # each in the language itself
PREFERRED = "en"  # what LANG * gives

_GERMAN = {
    BYE: "Auf Wiedersehen",
    CAPABILITIES: "Es folgen die Fähigkeiten",
    MECHANISMS: "Es folgen die Verfahren",
    BEGIN_TLS: "TLS kann beginnen",
    USER_NOTED: "Bitte PASS senden",
    UTF8_ON: "UTF-8 ist eingeschaltet",
    LANGUAGES: "Es folgen die Sprachen",
    LANGUAGE_CHANGED: "Sprache gewechselt",
    MAILDROP: "{} Nachrichten ({} Oktette)",
    OCTETS: "{} Oktette",
    UNIQUE_IDS: "Es folgen die eindeutigen Namen",
    TOP: "Es folgt der Anfang der Nachricht",
    DELETED: "Nachricht {} gelöscht",
    NOTHING: "Nichts zu tun",
    UNKNOWN_COMMAND: "Unbekannter Befehl",
    WRONG_STATE: "Dieser Befehl ist hier nicht möglich",
    BAD_ARGUMENTS: "Ungültige Angaben",
    BAD_UTF8: "Kein UTF-8",
    BAD_BASE64: "Das ist kein base64",
    LINE_TOO_LONG: "Zeile zu lang",
    NO_SUCH_MESSAGE: "Keine solche Nachricht",
    ALREADY_DELETED: "Die Nachricht ist zum Löschen vorgemerkt",
    NO_SUCH_LANGUAGE: "Keine solche Sprache",
    NO_TLS: "TLS ist nicht verfügbar",
    TLS_ACTIVE: "TLS ist schon eingeschaltet",
    NO_TLS_NOW: "STLS ist nach UTF8 nicht erlaubt",
    CANCELLED: "Anmeldung abgebrochen",
    TOO_MANY_ERRORS: "Zu viele Fehler",
    STOPPING: "Der Server hält an, bitte später wieder versuchen",
    NOT_REMOVED: "Einige gelöschte Nachrichten wurden nicht entfernt",
    "Authentication credentials invalid": "Anmeldung fehlgeschlagen",
    "Encryption required for requested authentication mechanism": "Anmeldung nur verschlüsselt",
    "Temporary failure on our side, try again later": "Vorübergehende Störung, bitte später wieder versuchen",
    "Too busy, try again later": "Überlastet, bitte später wieder versuchen",
    "Message no longer exists": "Die Nachricht gibt es nicht mehr",
}
_TRANSLATIONS: dict[str, dict[str, str]] = {"en": {}, "de": _GERMAN}


def translate(text: str, language: str) -> str:
    """The text in a language of `NAMES`."""
    return _TRANSLATIONS[language].get(text, text)


def choose(language_range: str) -> str | None:
    """The language for a basic language range by lookup (RFC 4647, 3.4): "de-AT" gives "de", "*" the
    preferred one. None where there is none."""
    wanted = language_range.lower()
    if wanted == "*":
        return PREFERRED
    while wanted:
        if wanted in NAMES:
            return wanted
        wanted = wanted.rpartition("-")[0]
    return None
