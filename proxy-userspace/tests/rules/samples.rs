//! Converters and maps, beside HAProxy.

use crate::twins::{Twins, gets};

/// Expressions that are taken of a request which has `X-A` and `X-N`.
const EXPRESSIONS: &[&str] = &[
    "path,field(2,/)",
    "path,field(-1,/)",
    "path,field(2,/,2)",
    "path,field(-2,/,3)",
    "path,field(2,/,0)",
    "path,field(9,/)",
    "path,word(1,/)",
    "path,word(-1,/)",
    "path,word(2,/,0)",
    "path,word(3,/f,2)",
    "path,word(9,/)",
    "path,bytes(1,2)",
    "path,bytes(2)",
    "path,bytes(99)",
    "query,url_dec",
    "query,url_dec(1)",
    "url,url_dec",
    "path,regsub(^/,)",
    "path,regsub('(.)/','<\\1>',g)",
    "path,regsub(A,b,i)",
    "hdr(x-a),regsub(a,b,gi)",
    "hdr(x-a),ltrim(aA),rtrim(xX)",
    "hdr(x-a),hex",
    "hdr(x-a),length,add(3)",
    "hdr(x-a),add(3)",
    "hdr(x-n),add(1)",
    "hdr(x-n),add(txn.n)",
    "hdr(x-n),mul(3),div(2),mod(4),neg",
    "int(7),sub(1),sub(txn.n)",
    "hdr(x-n),and(5),or(8),xor(1),cpl",
    "hdr(x-n),div(0)",
    "hdr(x-n),mod(0)",
    "hdr(x-n),mul(9223372036854775807)",
    "hdr(x-n),odd",
    "hdr(x-n),even",
    "hdr(x-n),bool",
    "hdr(x-n),not",
    "int(0),not",
    "src,ipmask(8)",
    "src,ipmask(255.255.255.0)",
    "str(2001:db8::1),ipmask(8,32)",
    "str(2001:db8::1),ipmask(8)",
    "hdr(host),host_only",
    "hdr(host),port_only",
    "str(a),concat(-,txn.n,+)",
    "str(a),concat(,txn.none)",
    "str(a),concat",
    "str('a),b')",
    "path,strcmp(txn.p)",
    "bool(1),iif(y,n)",
    "hdr(x-n),iif(y,n)",
    "hdr(x-a),crc32",
    "hdr(x-a),sdbm",
    "hdr(x-a),djb2",
    "hdr(x-a),wt6",
    "hdr(x-a),crc32(1)",
    "src,base64",
    "path,base64",
    "hdr(x-a),base64,b64dec",
    "hdr(x-a),b64dec",
    "str(Zm9vYg==),b64dec",
    "str(Zm9vYg),b64dec",
    "str(-_8),ub64dec,hex",
    "str(+/8),ub64dec,hex",
    "str(Zm9v=),ub64dec,hex",
    "str(+/8=),b64dec,hex",
    "str(+/8=),b64dec,ub64enc",
    "str(-_8=),b64dec,hex",
    "str(Zg=a),b64dec",
    "url,url_enc",
    "query,url_dec,url_enc",
    "hdr(x-a),url_enc(query)",
    "src,hex",
    "src,crc32",
    "src,sdbm",
    "hdr(x-ip),ipmask(24,64),djb2",
    "hdr(x-n),add(1),wt6(1)",
    "hdr(x-n),neg,hex",
    "hdr(x-n),odd,hex",
    "src,bytes(2,2),hex",
    "path,length,bytes(7),hex",
    "path,map(@folder/str.map)",
    "path,map_str(@folder/str.map,none)",
    "path,map_beg(@folder/beg.map,none)",
    "path,map_end(@folder/end.map,none)",
    "path,map_sub(@folder/sub.map,none)",
    "path,map_dir(@folder/words.map,none)",
    "hdr(host),map_dom(@folder/dom.map,none)",
    "path,map_reg(@folder/reg.map,none)",
    "hdr(x-n),map_int(@folder/int.map,none)",
    "src,map_ip(@folder/ip.map,none)",
    "hdr(x-ip),map_ip(@folder/ip.map,none)",
    "hdr(x-ip),map_ip_int(@folder/ipint.map,0),add(1)",
    "path,map_beg_int(@folder/begint.map),add(1)",
    "path,map_str_ip(@folder/strip.map,192.0.2.9)",
    "path,lower,map_str(@folder/str.map),upper",
];

/// HAProxy takes one way of matching for all that use a file, so that each has its own.
const WORDS: &str = "# a comment\n/a one\n/a two\n\n/abc/def   three and more \n/abc three-beg\n/ root\nghi end\nbc sub\n/empty\n";

const NAMES: &str = "abc word-abc\nexample word-example\ndef word-def\n";

const FILES: [(&str, &str); 12] = [
    ("str.map", WORDS),
    ("beg.map", WORDS),
    ("end.map", WORDS),
    ("sub.map", WORDS),
    ("words.map", NAMES),
    ("dom.map", NAMES),
    ("reg.map", "^/a$ exact\n^/a.* begins\n[0-9]+ digits\n"),
    ("int.map", "1:5 few\n7 seven\n6: many\n"),
    (
        "ip.map",
        "127.0.0.0/8 loopback\n127.0.0.1 one\n192.0.2.0/24 doc\n2001:db8::/32 six\n0.0.0.0/0 all\n",
    ),
    ("ipint.map", "192.0.2.0/24 41\n"),
    ("begint.map", "/a 1\n/abc 2\n"),
    ("strip.map", "/a 192.0.2.1\n"),
];

#[test]
fn converters_and_maps_give_what_haproxys_do() {
    let mut text = String::from(
        "listen a\n  bind @a\n  http-request set-var(txn.n) int(7)\n  http-request set-var(txn.p) path\n",
    );
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        text.push_str(&format!("  http-request set-header X-{number} \"<%[{expression}]>\"\n"));
        // Whether there is a sample at all.
        text.push_str(&format!(
            "  http-request set-header X-{number}-there 1 if {{ \"{expression}\" -m found }}\n"
        ));
    }
    text.push_str(
        "  http-request set-header X-By-Map 1 if { path,map_beg_int(@folder/begint.map) gt 1 }\n\
         \x20 http-request set-header X-By-Host 1 if { hdr(host),field(1,:) h }\n\
         \x20 http-request set-header X-By-Net 1 if { src,ipmask(8) 127.0.0.0 }\n\
         \x20 http-request set-header X-By-Bool 1 if { hdr(x-n),odd }\n\
         \x20 use_backend two if { path,map(@folder/str.map) -m beg three }\n\
         \x20 server s @origin\nbackend two\n  server t @origin\n",
    );
    let twins = Twins::start(&["a"], &text, &FILES);
    let mut requests = gets(["/", "/a", "/abc/def", "/empty", "/2//x", "/x?a%20b+c", "/bad?%zz"]);
    let more = "GET /abc/def/ghi?a%20b+c HTTP/1.1\r\nHost: www.example.com:80\r\nX-A: AxbxaX\r\nX-N: 7\r\nX-Ip: 192.0.2.7\r\n\r\n";
    requests.push(more.to_owned());
    requests.push(more.replace("X-N: 7", "X-N: 4x").replace("192.0.2.7", "2001:db8::7"));
    requests.push(more.replace("X-N: 7", "X-N: -12").replace("192.0.2.7", "none"));
    requests.push(more.replace("www.example.com:80", "[::1]:80"));
    twins.same("a", &requests);
}

/// Of a field's values rules take the last one, of a parameter's the first, and no other where that one
/// does not convert; a condition looks at all up to the first that does not.
#[test]
fn of_several_values_haproxys_are_taken() {
    let mut text = String::from("listen a\n  bind @a\n");
    for (number, expression) in [
        "req.hdr_ip(x-a)",
        "req.hdr_ip(x-a),map_ip(@folder/ip.map)",
        "req.hdr(x-a),map(@folder/word.map)",
        "req.hdr(x-a),ipmask(24)",
        "req.hdr(x-a)",
        "req.hdr(x-a,1),map(@folder/word.map)",
        "url_param(x)",
        "urlp(x,;)",
        "urlp('x','/')",
        "var(txn.none,'a,b')",
        "url_param(x),map(@folder/word.map)",
    ]
    .iter()
    .enumerate()
    {
        text.push_str(&format!(
            "  http-request set-header X-{number} \"<%[{expression}]>\"\n\
             \x20 http-request set-var(txn.v{number}) \"{expression}\"\n\
             \x20 http-request set-header X-{number}-var \"<%[var(txn.v{number})]>\"\n\
             \x20 http-request set-header X-{number}-there 1 if {{ \"{expression}\" -m found }}\n\
             \x20 http-request set-header X-{number}-is 1 if {{ \"{expression}\" -m str B 6.6.6.6 6.6.6.0 }}\n"
        ));
    }
    text.push_str("  server s @origin\n");
    let files = [("ip.map", "6.6.6.6 B\n"), ("word.map", "b B\nc C\n")];
    let twins = Twins::start(&["a"], &text, &files);
    let mut requests = gets([
        "/?x=b&x=a",
        "/?x=a&x=b",
        "/?x=c&x=b",
        "/;x=a?x=b?x=c",
        "/;y;x=a/x=b?xx=c;x",
        "/?y=b?x=B",
    ]);
    for value in [
        "b",
        "a, b",
        "b, a",
        "c, b",
        "6.6.6.6, unknown",
        "unknown, 6.6.6.6",
        "7.7.7.7, 6.6.6.6",
        "6.6.6.6, 7.7.7.7",
        "6.6.6.6\r\nX-A: unknown",
    ] {
        requests.push(format!("GET / HTTP/1.1\r\nHost: h\r\nX-A: {value}\r\n\r\n"));
    }
    twins.same("a", &requests);
}

/// Where a condition wants a number or an address, a text is read as converters read it.
#[test]
fn conditions_read_numbers_and_addresses_as_haproxy_does() {
    let mut text = String::from("listen a\n  bind @a\n");
    for (number, test) in [
        "req.hdr(x-a) -m int gt 100",
        "req.hdr(x-a) -m int le 0",
        "req.hdr(x-a) -m int 5",
        "req.hdr(x-a) -m bool",
        "req.hdr(x-a) -m ip 1.2.3.4",
        "req.hdr(x-a) -m ip 2001:db8::/32",
        "src -m int 2130706433",
        "int(16909060) -m ip 1.2.3.4",
        "req.hdr(x-a),map_int(@folder/int.map) -m found",
    ]
    .iter()
    .enumerate()
    {
        text.push_str(&format!("  http-request set-header X-{number} 1 if {{ {test} }}\n"));
    }
    text.push_str(
        "  http-request set-header X-Sum %[req.hdr(x-a),add(0)]\n\
         \x20 http-request set-header X-Net %[req.hdr(x-a),ipmask(24,64)]\n  server s @origin\n",
    );
    let twins = Twins::start(&["a"], &text, &[("int.map", "0:5 few\n")]);
    let values = [
        "200a",
        "a",
        "",
        "+5",
        "-5",
        "--5",
        "+-5",
        "5.9",
        "00200",
        "99999999999999999999",
        "true",
        "1",
        "0",
        "1.2.3.4",
        "1.2.3.4:80",
        "1.2.3.4x",
        "1.2.3.4.",
        "1.2.3",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4.5",
        "1..3.4",
        "2001:db8::1",
        "2001:db8::1x",
        "[2001:db8::1]",
        "::ffff:1.2.3.4",
        "\"5\"",
    ];
    let ask = |value| format!("GET / HTTP/1.1\r\nHost: h\r\nX-A: {value}\r\n\r\n");
    twins.same("a", &values.map(ask));
}

#[test]
fn what_haproxy_defines_is_defined() {
    let mut text = String::from("listen a\n  bind @a\n");
    for acl in [
        "FALSE",
        "TRUE",
        "HTTP",
        "HTTP_1.0",
        "HTTP_1.1",
        "HTTP_2.0",
        "HTTP_CONTENT",
        "HTTP_URL_ABS",
        "HTTP_URL_SLASH",
        "HTTP_URL_STAR",
        "LOCALHOST",
        "METH_CONNECT",
        "METH_DELETE",
        "METH_GET",
        "METH_HEAD",
        "METH_OPTIONS",
        "METH_POST",
        "METH_PUT",
        "METH_TRACE",
        "WAIT_END",
    ] {
        text.push_str(&format!("  http-request set-header X-{acl} 1 if {acl}\n"));
    }
    text.push_str("  server s @origin\n");
    let twins = Twins::start(&["a"], &text, &[]);
    let mut requests = gets(["/", "http://h/"]);
    for more in [
        "GET / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        requests.push(more.to_owned());
    }
    twins.same("a", &requests);
}

#[test]
fn proxies_and_servers_have_names() {
    let text = "listen a\n  bind @a\n  http-request set-header X-Fe %[fe_name]-%[fe_name,upper]\n\
        \x20 http-response set-header X-Names %[fe_name]/%[be_name]/%[srv_name]\n\
        \x20 http-response set-header X-Is 1 if { srv_name -m end o }\n  use_backend two if { path /two }\n\
        \x20 log-format %[fe_name]/%[be_name]/%[srv_name]\n\
        \x20 http-after-response set-header X-After <%[srv_name]>\n\
        \x20 http-request deny if { path /deny }\n  server one @origin\n\
        backend two\n  http-request set-header X-Be %[fe_name]/%[be_name]\n  server two @origin\n";
    let twins = Twins::start(&["a"], text, &[]);
    twins.same("a", &gets(["/", "/two", "/deny"]));
}

/// What a client has encoded begins no line of its own, neither before a server nor before a client.
#[test]
fn what_is_decoded_stays_within_its_line() {
    let text = "listen a\n  bind @a\n  http-request set-var(txn.q) query,url_dec\n\
        \x20 http-request set-var-fmt(txn.f) %[query,url_dec]\n\
        \x20 http-request set-header X-A %[query,url_dec]\n  http-request set-header X-Q %[var(txn.q)]\n\
        \x20 http-request set-header X-F %[var(txn.f)]\n  http-request set-path /%[query,url_dec]\n\
        \x20 http-request redirect location /%[var(txn.q)] if { path_beg /r }\n\
        \x20 http-response set-header X-R %[var(txn.q)]\n  server s @origin\n";
    let twins = Twins::start(&["a"], text, &[]);
    twins.same("a", &gets(["/?a%0d%0aX-Evil:1%0d%0a%0d%0aGET", "/?r%0aX-Evil:1%09%7f", "/?plain"]));
}
