"""Messages that are hard to take apart, by name, CRLF line ends; where we differ from Dovecot, and why."""

from __future__ import annotations


def _lines(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n"


def _header(*fields: str) -> bytes:
    return _lines(*fields, "", "text")


def _multipart(content_type: str, *lines: str) -> bytes:
    return _lines("MIME-Version: 1.0", f"Content-Type: {content_type}", "", *lines)


def _nested(depth: int) -> bytes:
    text = "Content-Type: text/plain\r\n\r\nx"
    for level in range(depth):
        text = f"Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n{text}\r\n--b{level}--"
    return f"MIME-Version: 1.0\r\n{text}\r\n".encode()


ODD: dict[str, bytes] = {
    "empty header": b"\r\ntext\r\n",
    "no body": _lines("Subject: x"),
    "no blank line, then text": _lines("Subject: x", "this is no field", "more"),
    "groups": _header("To: Friends: a@b, C <c@d>;, e@f, Nobody:;"),
    "comments": _header("From: (a (nested) comment) a@b (Name)", "To: a@b (one) , (two) c@d"),
    "quoted names": _header('From: "Doe, \\"J\\" John" <j@d>', 'To: "" <a@b>, " " <c@d>'),
    "source route": _header("From: <@x,@y:a@b>"),
    "no domain": _header("From: root", "To: <root>", "Cc: <>"),
    "angle without end": _header("From: A <a@b", "To: a@b>"),
    "several froms": _header("From: a@b", "From: c@d", "Subject: one", "Subject: two"),
    "sender and reply-to empty": _header("From: a@b", "Sender:", "Reply-To:  "),
    "encoded words": _header(
        "Subject: =?utf-8?q?=C3=A4?= =?utf-8?b?w7Y=?=", "From: =?utf-8?q?=C3=A4?= <a@b>"
    ),
    "raw utf-8": _header("Subject: \u00e4\u00f6", "From: \u00e4 <a@b>"),
    "raw latin-1": b"Subject: \xe4\r\n\r\nx\r\n",
    "folded": _header("Subject: a", " b", "\tc", "To: a@b,", " c@d"),
    "dates": _header("Date: Mon, 1 Jan 2024 00:00:00 +0000 (UTC)", "Date: second"),
    "ids": _header("Message-ID: <a b@c>", "In-Reply-To: <1@x> <2@x>", "References: <1@x>"),
    "unquoted dots in a name": _header("From: J. R. Doe <j@d>"),
    "domain literal": _header("From: a@[192.0.2.1]", "To: a@[IPv6:::1]"),
    "spaces in an address": _header("From: a @ b . c", "To: a . b @ c"),
    "quoted local part": _header('From: "a b"@c', 'To: "a\\"b"@c'),
    "percent and bang": _header("From: a%b@c", "To: x!y"),
    "type in capitals": _header("MIME-Version: 1.0", "Content-Type: TEXT/HTML; CHARSET=UTF-8"),
    "type without subtype": _header("MIME-Version: 1.0", "Content-Type: text"),
    "type with comments": _header("MIME-Version: 1.0", "Content-Type: text(a)/(b)plain(c); name(d)=(e)x(f)"),
    "type of nonsense": _header("MIME-Version: 1.0", "Content-Type: ;;;"),
    "parameters quoted": _header("MIME-Version: 1.0", 'Content-Type: text/plain; name="a;b\\"c"; x=y'),
    "parameters in pieces": _header(
        "MIME-Version: 1.0", "Content-Type: text/plain; name*0=ab;", " name*1=cd; title*=utf-8''%C3%A4"
    ),
    "parameter without value": _header("MIME-Version: 1.0", "Content-Type: text/plain; a; b=; c=d"),
    "all body fields": _header(
        "MIME-Version: 1.0",
        "Content-Type: text/plain",
        "Content-ID: <i@d>",
        "Content-Description: what it is",
        "Content-Transfer-Encoding: BASE64",
        "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==",
        'Content-Disposition: attachment; filename="a.txt"',
        "Content-Language: en, de (x)",
        "Content-Location: http://x/y z",
    ),
    "encoding unknown": _header("MIME-Version: 1.0", "Content-Transfer-Encoding: x-what ever"),
    "no mime-version": _header("Content-Type: text/html"),
    "multipart": _multipart(
        "multipart/mixed; boundary=b",
        "preamble",
        "--b",
        "",
        "one",
        "--b",
        "Content-Type: image/png",
        "",
        "x",
        "--b--",
    ),
    "multipart without end": _multipart("multipart/mixed; boundary=b", "--b", "", "one", "--b", "", "two"),
    "multipart without parts": _multipart("multipart/mixed; boundary=b", "nothing here"),
    "multipart with an empty part": _multipart("multipart/mixed; boundary=b", "--b", "--b", "", "--b--"),
    "multipart without boundary": _multipart("multipart/mixed", "--b", "", "one", "--b--"),
    "boundary is a prefix": _multipart(
        "multipart/mixed; boundary=b",
        "--b",
        "Content-Type: multipart/alternative; boundary=bb",
        "",
        "--bb",
        "",
        "x",
        "--bb--",
        "--b--",
    ),
    "boundary with spaces behind": _multipart("multipart/mixed; boundary=b", "--b  ", "", "one", "--b--  "),
    "boundary quoted": _multipart('multipart/mixed; boundary="a b?"', "--a b?", "", "one", "--a b?--"),
    "digest": _multipart("multipart/digest; boundary=b", "--b", "", "Subject: inner", "", "x", "--b--"),
    "message in message": _multipart("message/rfc822", "From: a@b", "Subject: inner", "", "one", "two"),
    "message in a part": _multipart(
        "multipart/mixed; boundary=b",
        "--b",
        "Content-Type: message/rfc822",
        "",
        "From: a@b",
        "Content-Type: multipart/alternative; boundary=c",
        "",
        "--c",
        "",
        "x",
        "--c--",
        "--b--",
    ),
    "message without header": _multipart("message/rfc822", "", "only text"),
    "message, empty": b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n",
    "message/delivery-status": _multipart(
        "message/delivery-status", "Reporting-MTA: x", "", "Action: failed"
    ),
    "message/global": _multipart("message/global", "From: a@b", "", "x"),
    "report": _multipart(
        "multipart/report; report-type=delivery-status; boundary=b",
        *("--b", "", "text", "--b", "Content-Type: message/delivery-status", "", "Action: failed", "", ""),
        *("--b", "Content-Type: text/rfc822-headers", "", "Subject: x", "", "--b--"),
    ),
    "ten levels": _nested(10),
    "text of no lines": b"Subject: x\r\n\r\nno line end",
    "text is empty": b"Subject: x\r\n\r\n",
}

# Message: why we differ
KNOWN = {
    "comments": "the comment behind every address of a list is its name, not only behind the first",
    "quoted names": "a quoted blank is a blank",
    "angle without end": "the address is there; SYNTAX_ERROR helps nobody",
    "several froms": "of fields that may come once the first counts, as in SORT and THREAD (RFC 5256, 5)",
    "folded": "unfolding takes the line end and nothing else (RFC 5322, 2.2.3)",
    "dates": "of fields that may come once the first counts, as in SORT and THREAD (RFC 5256, 5)",
    "spaces in an address": "spaces are allowed around dots (RFC 5322, 4.4)",
    "type without subtype": "a type that cannot be read is text/plain (RFC 2045, 5.2)",
    "type of nonsense": "a type that cannot be read is text/plain (RFC 2045, 5.2)",
    "parameters in pieces": "extended values are joined by clients (RFC 2231), which want to see them",
    "parameter without value": "an empty value is a value",
    "encoding unknown": "the field as it stands: a client shall not take it for 7BIT",
    "multipart without parts": "a multipart without a part is text (RFC 2046, 5.1 wants one at least)",
    "multipart without boundary": "a multipart without a part is text (RFC 2046, 5.1 wants one at least)",
    "message in a part": "the line end before a delimiter is the delimiter's (RFC 2046, 5.1.1)",
    "message/global": "a message like message/rfc822 (RFC 6532, 3.7; RFC 9051, 7.5.2)",
}
