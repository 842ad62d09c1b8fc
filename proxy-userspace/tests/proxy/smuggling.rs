//! Malformed and ambiguous messages, by the section of the RFC that they break, sent through a
//! real proxy in both directions. A refused request must never reach the server; a refused
//! response must never reach the client, nor its connection the next client.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::support::{Origin, Proxy, settings};

/// Section, what is wrong, and the request; `{h}` is a valid Host line.
const REQUESTS: &[(&str, &str, &str)] = &[
    // RFC 9112, 2.2: message parsing.
    ("2.2", "bare LF after the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n"),
    ("2.2", "bare LF after a field", "GET / HTTP/1.1\r\nHost: x\n\r\n"),
    ("2.2", "bare LF as the last line", "GET / HTTP/1.1\r\nHost: x\r\n\n"),
    ("2.2", "only bare LFs", "GET / HTTP/1.1\nHost: x\n\n"),
    ("2.2", "bare LF before the request", "\nGET / HTTP/1.1\r\n{h}\r\n"),
    ("2.2", "bare CR before the request", "\rGET / HTTP/1.1\r\n{h}\r\n"),
    ("2.2", "bare CR in the request line", "GET / HTTP/1.1\rX\r\n{h}\r\n"),
    ("2.2", "bare CR in a target", "GET /\rx HTTP/1.1\r\n{h}\r\n"),
    ("2.2", "bare CR in a field name", "GET / HTTP/1.1\r\n{h}A\rB: c\r\n\r\n"),
    ("2.2", "bare CR in a field value", "GET / HTTP/1.1\r\n{h}A: b\rContent-Length: 5\r\n\r\n"),
    ("2.2", "bare CR as the last line", "GET / HTTP/1.1\r\n{h}\rX\r\n"),
    ("2.2", "CR CR LF after a field", "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n"),
    ("2.2", "space before the first field", "GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
    ("2.2", "tab before the first field", "GET / HTTP/1.1\r\n\tHost: x\r\n\r\n"),
    ("2.2", "space on a line of its own", "GET / HTTP/1.1\r\n{h} \r\n\r\n"),
    ("2.2", "space before the request", " GET / HTTP/1.1\r\n{h}\r\n"),
    ("2.2", "NUL before the request", "\0GET / HTTP/1.1\r\n{h}\r\n"),
    ("2.2", "a byte order mark", "\u{feff}GET / HTTP/1.1\r\n{h}\r\n"),
    // RFC 9112, 2.3: version.
    ("2.3", "HTTP/2.0", "GET / HTTP/2.0\r\n{h}\r\n"),
    ("2.3", "HTTP/0.9", "GET / HTTP/0.9\r\n{h}\r\n"),
    ("2.3", "HTTP/1.10", "GET / HTTP/1.10\r\n{h}\r\n"),
    ("2.3", "HTTP/11", "GET / HTTP/11\r\n{h}\r\n"),
    ("2.3", "HTTP/1", "GET / HTTP/1\r\n{h}\r\n"),
    ("2.3", "HTTP/1.", "GET / HTTP/1.\r\n{h}\r\n"),
    ("2.3", "http/1.1", "GET / http/1.1\r\n{h}\r\n"),
    ("2.3", "HTTP /1.1", "GET / HTTP /1.1\r\n{h}\r\n"),
    ("2.3", "HTTP/1,1", "GET / HTTP/1,1\r\n{h}\r\n"),
    ("2.3", "HTTP/-1.1", "GET / HTTP/-1.1\r\n{h}\r\n"),
    ("2.3", "HTTPS/1.1", "GET / HTTPS/1.1\r\n{h}\r\n"),
    ("2.3", "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("2.3", "space after the version", "GET / HTTP/1.1 \r\n{h}\r\n"),
    // RFC 9112, 3: request line.
    ("3", "no version", "GET /\r\n{h}\r\n"),
    ("3", "no target", "GET HTTP/1.1\r\n{h}\r\n"),
    ("3", "an empty line with spaces", "   \r\n{h}\r\n"),
    ("3", "two spaces before the target", "GET  / HTTP/1.1\r\n{h}\r\n"),
    ("3", "two spaces before the version", "GET /  HTTP/1.1\r\n{h}\r\n"),
    ("3", "tab for the first space", "GET\t/ HTTP/1.1\r\n{h}\r\n"),
    ("3", "tab for the second space", "GET /\tHTTP/1.1\r\n{h}\r\n"),
    ("3", "space in the target", "GET /a b HTTP/1.1\r\n{h}\r\n"),
    ("3", "vertical tab in the line", "GET /\u{b} HTTP/1.1\r\n{h}\r\n"),
    ("3.1", "a method that is no token", "G(T / HTTP/1.1\r\n{h}\r\n"),
    ("3.1", "a quoted method", "\"GET\" / HTTP/1.1\r\n{h}\r\n"),
    ("3.1", "a method with a NUL", "GE\0T / HTTP/1.1\r\n{h}\r\n"),
    ("3.1", "a method with a colon", "GET: / HTTP/1.1\r\n{h}\r\n"),
    ("3.1", "no method", " / HTTP/1.1\r\n{h}\r\n"),
    // RFC 9112, 3.2: target and Host.
    ("3.2", "no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n"),
    ("3.2", "no field at all", "GET / HTTP/1.1\r\n\r\n"),
    ("3.2", "two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    ("3.2", "two equal Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
    ("3.2", "two Hosts in different case", "GET / HTTP/1.1\r\nHost: x\r\nhOST: y\r\n\r\n"),
    ("3.2", "two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"),
    ("3.2", "a list of Hosts", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n"),
    ("3.2", "Host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    ("3.2", "Host with user information", "GET / HTTP/1.1\r\nHost: u@x\r\n\r\n"),
    ("3.2", "Host with a space", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n"),
    ("3.2", "Host with two ports", "GET / HTTP/1.1\r\nHost: x:80:81\r\n\r\n"),
    ("3.2", "Host with a port of letters", "GET / HTTP/1.1\r\nHost: x:http\r\n\r\n"),
    ("3.2", "Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ("3.2", "Host with bytes above ASCII", "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n"),
    ("3.2", "Host with a backslash", "GET / HTTP/1.1\r\nHost: x\\y\r\n\r\n"),
    ("3.2", "a fragment", "GET /a#b HTTP/1.1\r\n{h}\r\n"),
    ("3.2", "bytes above ASCII in the target", "GET /\u{e9} HTTP/1.1\r\n{h}\r\n"),
    ("3.2", "NUL in the target", "GET /a\0b HTTP/1.1\r\n{h}\r\n"),
    ("3.2", "DEL in the target", "GET /a\u{7f}b HTTP/1.1\r\n{h}\r\n"),
    ("3.2.1", "a target without a slash", "GET a HTTP/1.1\r\n{h}\r\n"),
    ("3.2.1", "a target that begins with a query", "GET ?a HTTP/1.1\r\n{h}\r\n"),
    ("3.2.2", "another authority than Host", "GET http://y/ HTTP/1.1\r\n{h}\r\n"),
    ("3.2.2", "another port than Host", "GET http://x:81/ HTTP/1.1\r\n{h}\r\n"),
    ("3.2.2", "an empty authority", "GET http:/// HTTP/1.1\r\n{h}\r\n"),
    ("3.2.2", "user information in the target", "GET http://u@x/ HTTP/1.1\r\n{h}\r\n"),
    ("3.2.2", "no slashes after the scheme", "GET http:x/ HTTP/1.1\r\n{h}\r\n"),
    ("3.2.2", "an impossible scheme", "GET 1ttp://x/ HTTP/1.1\r\n{h}\r\n"),
    ("3.2.3", "CONNECT to a path", "CONNECT / HTTP/1.1\r\n{h}\r\n"),
    ("3.2.3", "CONNECT without a port", "CONNECT x HTTP/1.1\r\n{h}\r\n"),
    ("3.2.3", "CONNECT elsewhere than Host", "CONNECT y:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"),
    ("3.2.3", "an authority for GET", "GET x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n"),
    ("3.2.4", "an asterisk for GET", "GET * HTTP/1.1\r\n{h}\r\n"),
    ("3.2.4", "more than an asterisk", "OPTIONS ** HTTP/1.1\r\n{h}\r\n"),
    // RFC 9112, 5: fields.
    ("5.1", "space before the colon", "GET / HTTP/1.1\r\n{h}A : b\r\n\r\n"),
    ("5.1", "tab before the colon", "GET / HTTP/1.1\r\n{h}A\t: b\r\n\r\n"),
    ("5.1", "space before Host's colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
    (
        "5.1",
        "space before Content-Length's colon",
        "POST / HTTP/1.1\r\n{h}Content-Length : 5\r\n\r\nabcde",
    ),
    (
        "5.1",
        "space before Transfer-Encoding's colon",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("5.1", "no colon", "GET / HTTP/1.1\r\n{h}A\r\n\r\n"),
    ("5.1", "no name", "GET / HTTP/1.1\r\n{h}: b\r\n\r\n"),
    ("5.1", "a space in the name", "GET / HTTP/1.1\r\n{h}A B: c\r\n\r\n"),
    ("5.1", "a slash in the name", "GET / HTTP/1.1\r\n{h}A/B: c\r\n\r\n"),
    ("5.1", "a parenthesis in the name", "GET / HTTP/1.1\r\n{h}A(B): c\r\n\r\n"),
    ("5.1", "NUL in the name", "GET / HTTP/1.1\r\n{h}A\0B: c\r\n\r\n"),
    ("5.1", "bytes above ASCII in the name", "GET / HTTP/1.1\r\n{h}\u{c4}: c\r\n\r\n"),
    ("5.1", "an NBSP before the colon", "GET / HTTP/1.1\r\n{h}A\u{a0}: c\r\n\r\n"),
    ("5.2", "a folded line", "GET / HTTP/1.1\r\n{h}A: b\r\n c\r\n\r\n"),
    ("5.2", "a line folded with a tab", "GET / HTTP/1.1\r\n{h}A: b\r\n\tc\r\n\r\n"),
    ("5.2", "a folded Host", "GET / HTTP/1.1\r\nHost:\r\n x\r\n\r\n"),
    (
        "5.2",
        "a folded Transfer-Encoding",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ),
    ("9110 5.5", "NUL in a value", "GET / HTTP/1.1\r\n{h}A: b\0c\r\n\r\n"),
    ("9110 5.5", "BEL in a value", "GET / HTTP/1.1\r\n{h}A: b\u{7}c\r\n\r\n"),
    ("9110 5.5", "escape in a value", "GET / HTTP/1.1\r\n{h}A: \u{1b}[2J\r\n\r\n"),
    ("9110 5.5", "DEL in a value", "GET / HTTP/1.1\r\n{h}A: b\u{7f}c\r\n\r\n"),
    ("9110 5.5", "form feed in a value", "GET / HTTP/1.1\r\n{h}A: b\u{c}c\r\n\r\n"),
    // RFC 9112, 6.1: Transfer-Encoding.
    ("6.1", "in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("6.1", "an unknown coding", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: x\r\n\r\n0\r\n\r\n"),
    (
        "6.1",
        "an unknown coding before chunked",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("6.3", "identity", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: identity\r\n\r\n"),
    (
        "6.3",
        "chunked, then identity",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "chunked twice",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "chunked in two fields",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\n",
    ),
    (
        "6.3",
        "chunked, then another field",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n\
         0\r\n\r\n",
    ),
    (
        "6.3",
        "chunked is not last",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    ("6.3", "an empty list", "POST / HTTP/1.1\r\n{h}Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ("6.3", "a comma", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    ("6.3", "a last comma", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    ("6.3", "quoted", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("6.3", "xchunked", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("6.3", "chunkedx", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n"),
    ("6.3", "chunked;x", "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked;x=y\r\n\r\n0\r\n\r\n"),
    (
        "6.3",
        "vertical tab",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths",
        "POST / HTTP/1.1\r\n{h}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths, the other way round",
        "POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths in HTTP/1.0",
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths, 0",
        "GET / HTTP/1.1\r\n{h}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths in odd case",
        "POST / HTTP/1.1\r\n{h}cONTENT-lENGTH: 5\r\ntRANSFER-eNCODING: CHUNKED\r\n\r\n0\r\n\r\n",
    ),
    // RFC 9112, 6.2 and RFC 9110, 8.6: Content-Length.
    ("6.3", "two lengths", "POST / HTTP/1.1\r\n{h}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    (
        "6.3",
        "two equal lengths",
        "POST / HTTP/1.1\r\n{h}Content-Length: 5\r\ncontent-length: 5\r\n\r\n",
    ),
    ("6.3", "a list of lengths", "POST / HTTP/1.1\r\n{h}Content-Length: 5, 5\r\n\r\nabcde"),
    ("6.3", "a length and a comma", "POST / HTTP/1.1\r\n{h}Content-Length: 5,\r\n\r\nabcde"),
    ("9110 8.6", "plus", "POST / HTTP/1.1\r\n{h}Content-Length: +5\r\n\r\nabcde"),
    ("9110 8.6", "minus", "POST / HTTP/1.1\r\n{h}Content-Length: -5\r\n\r\nabcde"),
    ("9110 8.6", "minus zero", "POST / HTTP/1.1\r\n{h}Content-Length: -0\r\n\r\n"),
    ("9110 8.6", "hexadecimal", "POST / HTTP/1.1\r\n{h}Content-Length: 0x5\r\n\r\nabcde"),
    ("9110 8.6", "a fraction", "POST / HTTP/1.1\r\n{h}Content-Length: 5.0\r\n\r\nabcde"),
    ("9110 8.6", "an exponent", "POST / HTTP/1.1\r\n{h}Content-Length: 5e0\r\n\r\nabcde"),
    ("9110 8.6", "a space inside", "POST / HTTP/1.1\r\n{h}Content-Length: 5 5\r\n\r\nabcde"),
    ("9110 8.6", "empty", "POST / HTTP/1.1\r\n{h}Content-Length:\r\n\r\n"),
    ("9110 8.6", "a word", "POST / HTTP/1.1\r\n{h}Content-Length: five\r\n\r\nabcde"),
    ("9110 8.6", "2^63", "POST / HTTP/1.1\r\n{h}Content-Length: 9223372036854775808\r\n\r\n"),
    ("9110 8.6", "2^64", "POST / HTTP/1.1\r\n{h}Content-Length: 18446744073709551616\r\n\r\n"),
    (
        "9110 8.6",
        "2^64 + 5",
        "POST / HTTP/1.1\r\n{h}Content-Length: 18446744073709551621\r\n\r\nabcde",
    ),
    ("9110 8.6", "Arabic digits", "POST / HTTP/1.1\r\n{h}Content-Length: \u{665}\r\n\r\nabcde"),
    // RFC 9112, 7.1: chunks, of which the first is already wrong.
    ("7.1", "no size", "POST / HTTP/1.1\r\n{h}{c}\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "a size with 0x", "POST / HTTP/1.1\r\n{h}{c}0x5\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "a size with plus", "POST / HTTP/1.1\r\n{h}{c}+5\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "a negative size", "POST / HTTP/1.1\r\n{h}{c}-5\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "space before the size", "POST / HTTP/1.1\r\n{h}{c} 5\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "space after the size", "POST / HTTP/1.1\r\n{h}{c}5 \r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "bare LF after the size", "POST / HTTP/1.1\r\n{h}{c}5\nabcde\r\n0\r\n\r\n"),
    ("7.1", "bare CR after the size", "POST / HTTP/1.1\r\n{h}{c}5\rabcde\r\n0\r\n\r\n"),
    ("7.1", "bare LF after the data", "POST / HTTP/1.1\r\n{h}{c}5\r\nabcde\n0\r\n\r\n"),
    ("7.1", "no line end after the data", "POST / HTTP/1.1\r\n{h}{c}5\r\nabcde0\r\n\r\n"),
    ("7.1", "more data than the size", "POST / HTTP/1.1\r\n{h}{c}5\r\nabcdefg\r\n0\r\n\r\n"),
    (
        "7.1",
        "a size of 16 digits",
        "POST / HTTP/1.1\r\n{h}{c}0000000000000005\r\nabcde\r\n0\r\n\r\n",
    ),
    ("7.1", "a size of 2^64", "POST / HTTP/1.1\r\n{h}{c}10000000000000000\r\n0\r\n\r\n"),
    ("7.1", "a size with an underscore", "POST / HTTP/1.1\r\n{h}{c}0_5\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "a size in other digits", "POST / HTTP/1.1\r\n{h}{c}\u{ff15}\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "NUL after the size", "POST / HTTP/1.1\r\n{h}{c}5\0\r\nabcde\r\n0\r\n\r\n"),
    ("7.1", "bare LF after the last chunk", "POST / HTTP/1.1\r\n{h}{c}0\n\r\n"),
    ("7.1", "bare LF at the very end", "POST / HTTP/1.1\r\n{h}{c}0\r\n\n"),
    ("7.1.1", "bare LF in an extension", "POST / HTTP/1.1\r\n{h}{c}5;a\nb\r\nabcde\r\n0\r\n\r\n"),
    ("7.1.1", "bare CR in an extension", "POST / HTTP/1.1\r\n{h}{c}5;a\rb\r\nabcde\r\n0\r\n\r\n"),
    (
        "7.1.1",
        "CRLF in a quoted extension",
        "POST / HTTP/1.1\r\n{h}{c}5;a=\"\r\n\"\r\nabcde\r\n0\r\n\r\n",
    ),
    ("7.1.1", "NUL in an extension", "POST / HTTP/1.1\r\n{h}{c}5;a\0\r\nabcde\r\n0\r\n\r\n"),
    (
        "7.1.1",
        "an extension without a semicolon",
        "POST / HTTP/1.1\r\n{h}{c}5 a=b\r\nabcde\r\n0\r\n\r\n",
    ),
    (
        "7.1.2",
        "Content-Length as a trailer",
        "POST / HTTP/1.1\r\n{h}{c}0\r\nContent-Length: 5\r\n\r\n",
    ),
    (
        "7.1.2",
        "Transfer-Encoding as a trailer",
        "POST / HTTP/1.1\r\n{h}{c}0\r\nTransfer-Encoding: x\r\n\r\n",
    ),
    ("7.1.2", "Host as a trailer", "POST / HTTP/1.1\r\n{h}{c}0\r\nHost: y\r\n\r\n"),
    (
        "7.1.2",
        "Authorization as a trailer",
        "POST / HTTP/1.1\r\n{h}{c}0\r\nAuthorization: y\r\n\r\n",
    ),
    ("7.1.2", "a folded trailer", "POST / HTTP/1.1\r\n{h}{c}0\r\nA: b\r\n c\r\n\r\n"),
    ("7.1.2", "space before a trailer's colon", "POST / HTTP/1.1\r\n{h}{c}0\r\nA : b\r\n\r\n"),
    ("7.1.2", "a trailer without a colon", "POST / HTTP/1.1\r\n{h}{c}0\r\nGET / HTTP/1.1\r\n\r\n"),
    ("7.1.2", "NUL in a trailer", "POST / HTTP/1.1\r\n{h}{c}0\r\nA: \0\r\n\r\n"),
    // RFC 9110, 7.6.1 and 7.8.
    ("9110 7.6.1", "Connection names Host", "GET / HTTP/1.1\r\n{h}Connection: Host\r\n\r\n"),
    (
        "9110 7.6.1",
        "Connection names Content-Length",
        "POST / HTTP/1.1\r\n{h}Content-Length: 5\r\nConnection: close, content-length\r\n\r\nabcde",
    ),
    (
        "9110 7.6.1",
        "Connection names Transfer-Encoding",
        "POST / HTTP/1.1\r\n{h}Connection: transfer-encoding\r\n{c}0\r\n\r\n",
    ),
    ("9110 7.8", "Upgrade of no token", "GET / HTTP/1.1\r\n{h}Upgrade: a;b\r\n\r\n"),
];

/// Section, what is wrong, and the response; the request was `GET` over HTTP/1.1.
const RESPONSES: &[(&str, &str, &str)] = &[
    ("2.2", "bare LF after the status line", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok"),
    ("2.2", "bare LF after a field", "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok"),
    ("2.2", "bare LF as the last line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"),
    ("2.2", "only bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    ("2.2", "bare CR in a value", "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n"),
    ("2.2", "an empty line before", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("2.2", "space before the first field", "HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\nok"),
    ("2.2", "a body without a head", "<html><body>ok</body></html>\r\n\r\n"),
    ("2.3", "HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("2.3", "HTTP/0.9", "HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("2.3", "http/1.1", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("2.3", "HTTP/1.1.1", "HTTP/1.1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("2.3", "ICY", "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "no status", "HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "a status of letters", "HTTP/1.1 OK 200\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "a negative status", "HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "status 000", "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "status 099", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "status 600", "HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "status 999", "HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "two spaces", "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "tab for a space", "HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("4", "NUL in the reason", "HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok"),
    ("5.1", "space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
    ("5.1", "tab before the colon", "HTTP/1.1 200 OK\r\nContent-Length\t: 2\r\n\r\nok"),
    ("5.1", "no colon", "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\nok"),
    ("5.1", "no name", "HTTP/1.1 200 OK\r\n: b\r\n\r\nok"),
    ("5.1", "a space in the name", "HTTP/1.1 200 OK\r\nA B: c\r\n\r\nok"),
    ("5.1", "NUL in the name", "HTTP/1.1 200 OK\r\nA\0B: c\r\n\r\nok"),
    ("5.2", "a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok"),
    ("5.2", "a folded length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok"),
    ("9110 5.5", "NUL in a value", "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\nok"),
    ("9110 5.5", "escape in a value", "HTTP/1.1 200 OK\r\nA: \u{1b}\r\n\r\nok"),
    (
        "6.1",
        "chunked in HTTP/1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("6.1", "an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
    (
        "6.1",
        "an unknown coding before chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("6.3", "identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok"),
    (
        "6.3",
        "chunked twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "chunked is not last",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths, the other way round",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    ),
    (
        "6.3",
        "both lengths in a 304",
        "HTTP/1.1 304 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
    ),
    ("6.3", "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    (
        "6.3",
        "two equal lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("6.3", "a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
    ("9110 8.6", "plus", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("9110 8.6", "minus", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
    ("9110 8.6", "hexadecimal", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok"),
    ("9110 8.6", "empty", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"),
    ("9110 8.6", "2^64 + 2", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok"),
    (
        "9110 7.6.1",
        "Connection names Content-Length",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: content-length\r\n\r\nok",
    ),
    (
        "9110 15.2.2",
        "a switch that nobody asked for",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    ),
    ("7.1", "no size", "HTTP/1.1 200 OK\r\n{c}\r\nok\r\n0\r\n\r\n"),
    ("7.1", "a size with 0x", "HTTP/1.1 200 OK\r\n{c}0x2\r\nok\r\n0\r\n\r\n"),
    ("7.1", "space after the size", "HTTP/1.1 200 OK\r\n{c}2 \r\nok\r\n0\r\n\r\n"),
    ("7.1", "bare LF after the size", "HTTP/1.1 200 OK\r\n{c}2\nok\r\n0\r\n\r\n"),
    ("7.1", "bare LF after the data", "HTTP/1.1 200 OK\r\n{c}2\r\nok\n0\r\n\r\n"),
    ("7.1", "more data than the size", "HTTP/1.1 200 OK\r\n{c}2\r\noky\r\n0\r\n\r\n"),
    ("7.1", "a size of 2^64", "HTTP/1.1 200 OK\r\n{c}10000000000000002\r\nok\r\n0\r\n\r\n"),
    ("7.1.1", "bare LF in an extension", "HTTP/1.1 200 OK\r\n{c}2;a\nb\r\nok\r\n0\r\n\r\n"),
    (
        "7.1.2",
        "Content-Length as a trailer",
        "HTTP/1.1 200 OK\r\n{c}0\r\nContent-Length: 2\r\n\r\n",
    ),
    ("7.1.2", "Set-Cookie as a trailer", "HTTP/1.1 200 OK\r\n{c}0\r\nSet-Cookie: a=b\r\n\r\n"),
    ("7.1.2", "a folded trailer", "HTTP/1.1 200 OK\r\n{c}0\r\nA: b\r\n c\r\n\r\n"),
];

fn filled(message: &str) -> String {
    message.replace("{h}", "Host: x\r\n").replace("{c}", "Transfer-Encoding: chunked\r\n\r\n")
}

#[test]
fn the_lists_are_long_and_have_no_case_twice() {
    let all = REQUESTS.iter().chain(RESPONSES);
    assert!(all.clone().count() >= 150, "{}", all.count());
    let distinct: HashSet<_> = REQUESTS.iter().chain(RESPONSES).map(|case| case.2).collect();
    assert_eq!(distinct.len(), REQUESTS.len() + RESPONSES.len());
}

#[test]
fn refused_requests_never_reach_the_server() {
    let reached = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reached);
    let origin = Origin::new(move |mut peer| {
        while let Some(request) = peer.head() {
            seen.lock().expect("unpoisoned").push(request);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    for (section, wrong, message) in REQUESTS {
        let case = format!("{section} {wrong}");
        let mut client = proxy.connect();
        client.send(filled(message));
        // A request smuggled behind it must not be answered either.
        client.send("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
        let got = client.rest();
        let status = got.get(9..12).unwrap_or_default();
        assert!(matches!(status, "400" | "501"), "{case}: {got:?}");
        assert_eq!(got.matches("HTTP/1.").count(), 1, "{case}: {got:?}");
    }
    assert_eq!(*reached.lock().expect("unpoisoned"), Vec::<Vec<u8>>::new());
    let log = proxy.log(REQUESTS.len());
    assert!(log.iter().all(|line| line.state == "PR--"), "{log:?}");
}

#[test]
fn refused_responses_never_reach_a_client() {
    let turn = Arc::new(AtomicUsize::new(0));
    let current = Arc::clone(&turn);
    let origin = Origin::new(move |mut peer| {
        while peer.request().is_some() {
            peer.send(filled(RESPONSES[current.load(Relaxed)].2));
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    for (index, (section, wrong, message)) in RESPONSES.iter().enumerate() {
        let case = format!("{section} {wrong}");
        turn.store(index, Relaxed);
        let before = origin.opened();
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let got = client.rest();
        assert_eq!(got.get(9..12), Some("502"), "{case}: {got:?}");
        assert_eq!(got.matches("HTTP/1.").count(), 1, "{case}: {got:?}");
        assert!(!got.contains("ok"), "{case}: {got:?}");
        assert_eq!(origin.opened(), before + 1, "{case}: the connection was used again");
        let line = proxy.log(index + 1).pop().expect("a line");
        assert_eq!(line.state, "PH--", "{case}");
        let _ = message;
    }
}

#[test]
fn a_response_that_nobody_asked_for_is_given_to_nobody() {
    let origin = Origin::new(|mut peer| {
        peer.request();
        peer.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
             HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        );
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nreused");
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(client.response().ends_with("\r\n\r\nok"));
    }
    assert_eq!(origin.opened(), 3);
}

#[test]
fn limits_are_kept() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let proxy = Proxy::start(settings(&[origin.address]));
    let head =
        |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    let status = |request: String| proxy.exchange(request)[9..12].to_owned();
    assert_eq!(status(head(&"a: b\r\n".repeat(99))), "200");
    assert_eq!(status(head(&"a: b\r\n".repeat(100))), "400");
    assert_eq!(status(head(&format!("a: {}\r\n", "b".repeat(15_000)))), "200");
    assert_eq!(status(head(&format!("a: {}\r\n", "b".repeat(15_400)))), "400");
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "b".repeat(20_000));
    assert_eq!(status(long), "400");
    // Without an end the limit is found as well.
    assert_eq!(status(format!("GET /{}", "b".repeat(20_000))), "400");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(102));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(20_000));
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(20_000));
    let interim = "HTTP/1.1 103 Early\r\n\r\n".repeat(40);
    for response in [many, long, endless, interim] {
        let origin = Origin::answering(response);
        let proxy = Proxy::start(settings(&[origin.address]));
        let got = proxy.exchange(head(""));
        assert!(got.contains("HTTP/1.1 502 "), "{got}");
    }
}
