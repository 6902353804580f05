package integration

import "testing"

// TestNoFramingSmugglesARequest: where servers may disagree about a message's end, Envoy refuses it and ends the
// connection, or passes it on in its own spelling and stays in step.
func TestNoFramingSmugglesARequest(t *testing.T) {
	w := startWire(t, nil)
	g := startWith(t, func(o *Options) { o.First, o.Prefix = w.url, "/v1/" }, one)
	const (
		ended  = "400 bad_request, ended"
		coding = "501 bad_request, ended"
		post   = "200, in step: POST /x {}"
		get    = "200, in step: GET /x"
	)
	lengths := func(name, lengths, want string) attempt {
		return attempt{"content-length " + name, "POST ROW/x HTTP/1.1|HOST|" + lengths + "||{}SMUGGLED", want}
	}
	codings := func(name, codings, want string) attempt {
		return attempt{"transfer-encoding " + name, "POST ROW/x HTTP/1.1|HOST|" + codings + "||0||SMUGGLED", want}
	}
	field := func(name, field, want string) attempt {
		return attempt{name, "POST ROW/x HTTP/1.1|HOST|content-length: 2|" + field + "||{}SMUGGLED", want}
	}
	chunks := func(name, body, want string) attempt {
		return attempt{"chunks " + name, "POST ROW/x HTTP/1.1|HOST|transfer-encoding: chunked||" + body, want}
	}
	first := func(name, line, want string) attempt { return attempt{name, line + "|HOST||", want} }
	fine := func(name, sent, want string) attempt { return attempt{name, sent, want} }

	g.all(t, w, []attempt{
		fine("an ordinary request", "POST ROW/x HTTP/1.1|HOST|content-length: 2||{}", post),
		lengths("twice, the longer last", "content-length: 2|content-length: LENGTH", ended),
		lengths("twice, the shorter last", "content-length: LENGTH|content-length: 2", ended),
		lengths("twice, the same", "content-length: 2|content-length: 2", ended),
		lengths("as a list", "content-length: 2, LENGTH", ended),
		lengths("as a list of the same", "content-length: 2, 2", ended),
		lengths("with a plus", "content-length: +2", ended),
		lengths("below zero", "content-length: -2", ended),
		lengths("in hex", "content-length: 0x2", ended),
		lengths("in two words", "content-length: 2 2", ended),
		lengths("with a semicolon", "content-length: 2;", ended),
		lengths("without a value", "content-length:", ended),
		lengths("that overflows", "content-length: 18446744073709551618", ended),
		lengths("with a vertical tab", "content-length: 2\v", ended),
		lengths("with a space before the colon", "content-length : 2", ended),
		lengths("with a tab before the colon", "content-length\t: 2", ended),
		fine("content-length with a zero in front", "POST ROW/x HTTP/1.1|HOST|content-length: 02||{}", post),
		fine("content-length on the next line", "POST ROW/x HTTP/1.1|HOST|content-length:| 2||{}", post),

		codings("and a length", "content-length: 5|transfer-encoding: chunked", ended),
		codings("and a length after it", "transfer-encoding: chunked|content-length: LENGTH", ended),
		codings("xchunked", "transfer-encoding: xchunked", coding),
		codings("chunked, identity", "transfer-encoding: chunked, identity", coding),
		codings("identity, chunked", "transfer-encoding: identity, chunked", coding),
		codings("gzip, chunked", "transfer-encoding: gzip, chunked", coding),
		codings("twice", "transfer-encoding: chunked|transfer-encoding: identity", coding),
		codings("chunked twice", "transfer-encoding: chunked|transfer-encoding: chunked", coding),
		codings("in quotes", `transfer-encoding: "chunked"`, coding),
		codings("with a parameter", "transfer-encoding: chunked;q=0", coding),
		codings("with a vertical tab", "transfer-encoding: \vchunked", ended),
		codings("with a NUL", "transfer-encoding: chunked\x00", ended),
		codings("identity", "transfer-encoding: identity|content-length: 5", ended),
		codings("in HTTP/1.0, to stay", "connection: keep-alive|content-length: 5|transfer-encoding: chunked", ended),
		fine("transfer-encoding in HTTP/1.0", "POST ROW/x HTTP/1.0|HOST|transfer-encoding: chunked||0||SMUGGLED",
			"200, ended: POST /x"),
		fine("transfer-encoding in capitals", "POST ROW/x HTTP/1.1|HOST|Transfer-Encoding: ChUnKeD||2|{}|0||", post),
		fine("transfer-encoding with tabs", "POST ROW/x HTTP/1.1|HOST|Transfer-Encoding:\tchunked\t||2|{}|0||", post),
		fine("transfer_encoding", "POST ROW/x HTTP/1.1|HOST|Transfer_Encoding: chunked|content-length: 2||{}", post),

		field("a space before the colon", "transfer-encoding : chunked", ended),
		field("a space before the name", " host: localhost|x: y", ended),
		field("no colon", "nonsense", ended),
		field("no name", ": x", ended),
		field("a NUL in a value", "a: b\x00c", ended),
		field("a NUL in a name", "a\x00: b", ended),
		field("half a line's end, LF, in a value", "a: b\ntransfer-encoding: chunked", ended),
		field("half a line's end, CR, in a name", "a\rb: c", ended),
		field("a folded coding", "transfer-encoding:| chunked", ended),
		fine("half a line's end, CR, in a value", // it is left out
			"POST ROW/x HTTP/1.1|HOST|content-length: 2|a: b\rtransfer-encoding: chunked||{}", post),
		fine("half line ends, LF", "POST ROW/x HTTP/1.1\nHOST\ncontent-length: 2\n\n{}", post),
		fine("half a line's end, LF, after the head", "POST ROW/x HTTP/1.1|HOST|content-length: LENGTH\n\nSMUGGLED",
			"200, in step: POST /x GET /smuggled HTTP/1.1 host: localhost"),
		fine("a folded value", "POST ROW/x HTTP/1.1|HOST|content-length: 2|a: b| folded: c||{}", post),
		fine("a byte above ASCII", "POST ROW/x HTTP/1.1|HOST|content-length: 2|a: \xff\xfe||{}", post),
		fine("a space before the first name", "POST ROW/x HTTP/1.1| HOST|content-length: 2||{}SMUGGLED", ended),

		fine("TE, which HTTP/2 does not know", "GET ROW/x HTTP/1.1|HOST|connection: te|te: gzip, deflate;q=0.3||", get),
		fine("TE without Connection", "GET ROW/x HTTP/1.1|HOST|te: gzip||", get),
		fine("Keep-Alive", "GET ROW/x HTTP/1.1|HOST|connection: keep-alive|keep-alive: timeout=5||", get),
		fine("HTTP2-Settings", "GET ROW/x HTTP/1.1|HOST|http2-settings: AAMAAABkAARAAAAAAAIAAAAA||", get),
		fine("odd names", "GET ROW/x HTTP/1.1|HOST|!#$%&'*+-.^_`~: x||", get),
		fine("odd values", "GET ROW/x HTTP/1.1|HOST|a: \x80\xff (){}[]<>@,;:\\\"/?=\t||", get),
		fine("a name like a pseudo header", "GET ROW/x HTTP/1.1|HOST|:path: ROW/smuggled||", ended),
		fine("an odd path", "GET ROW/x!$&'()*+,-.0:;=@_~{}<>^`\"[] HTTP/1.1|HOST||",
			get+"!$&'()*+,-.0:;=@_~%7B%7D%3C%3E%5E%60%22[]"),
		fine("an odd query", "GET ROW/x?{}<>^`\"[] HTTP/1.1|HOST||", get+"?{}<>^`\"[]"),

		chunks("with extensions", "2;a=b|{}|0;c||", post),
		chunks("with an extension that ends in LF", "2;a\n{}|0||", ended),
		chunks("with LF in an extension", "2;\nxx|31|0||SMUGGLED|0||", ended),
		chunks("with a quoted line's end", "2;a=\"|\"|{}|0||SMUGGLED", ended),
		chunks("with LF alone", "2\n{}\n0\n\nSMUGGLED", ended),
		chunks("in hex with 0x", "0x2|{}|0||SMUGGLED", ended),
		chunks("below zero", "-2|{}|0||SMUGGLED", ended),
		chunks("with a space behind", "2 |{}|0||", post),
		chunks("with a space in front", " 2|{}|0||SMUGGLED", ended),
		chunks("that overflow", "10000000000000002|{}|0||SMUGGLED", ended),
		chunks("with zeros in front", "0002|{}|0000||", post),
		chunks("that are longer than they say", "2|{}xx0||SMUGGLED", ended),
		chunks("without a length", "|{}|0||SMUGGLED", ended),
		chunks("with trailers", "2|{}|0|x-api-key: x|x-tokenward-cluster: backup||", post),
		chunks("with trailers that frame", "2|{}|0|content-length: LENGTH|transfer-encoding: chunked||", post),
		chunks("with a request for a trailer", "2|{}|0|SMUGGLED", ended),

		fine("GET with a body", "GET ROW/x HTTP/1.1|HOST|content-length: LENGTH||SMUGGLED",
			"200, in step: GET /x GET /smuggled HTTP/1.1 host: localhost"),
		fine("Expect", "POST ROW/x HTTP/1.1|HOST|expect: 100-continue|content-length: 2||{}", post),
		fine("HTTP/1.0", "POST ROW/x HTTP/1.0|content-length: 2||{}", "200, ended: POST /x {}"),
		fine("HTTP/1.0 without a length", "POST ROW/x HTTP/1.0||SMUGGLED", "200, ended: POST /x"),
		fine("HTTP/1.0, to stay", "POST ROW/x HTTP/1.0|connection: keep-alive|content-length: 2||{}", post),
		fine("HTTP/0.9", "GET ROW/x|", "200, ended: GET /x"),
		fine("Connection: close", "GET ROW/x HTTP/1.1|HOST|connection: close||", "200, ended: GET /x"),
		fine("empty lines in front", "||GET ROW/x HTTP/1.1|HOST||", get),
		first("HTTP/0.9 with headers", "GET ROW/x", "200, ended: GET /x"),
		first("HTTP/1.2", "GET ROW/x HTTP/1.2", "200, ended: GET /x"),
		first("HTTP/2.0", "GET ROW/x HTTP/2.0", "200, ended: GET /x"),
		first("HTTP/1.1.1", "GET ROW/x HTTP/1.1.1", ended),
		first("http/1.1", "GET ROW/x http/1.1", ended),
		first("another protocol", "GET ROW/x ICE/1.1", ended),
		first("two versions", "GET ROW/x HTTP/1.1 HTTP/1.1", ended),
		first("two spaces", "GET  ROW/x  HTTP/1.1", get),
		first("tabs", "GET\tROW/x\tHTTP/1.1", get),
		first("a space in the path", "GET ROW/x y HTTP/1.1", ended),
		first("a space in front", " GET ROW/x HTTP/1.1", ended),
		first("a method of junk", "GARBAGE ROW/x HTTP/1.1", ended),
		first("a method that is no word", "G@T ROW/x HTTP/1.1", ended),
		first("a method in small letters", "get ROW/x HTTP/1.1", ended),
		first("%00", "GET ROW/%00 HTTP/1.1", ended),
		first("NUL", "GET ROW/\x00 HTTP/1.1", ended),
		first("a fragment", "GET ROW/x#y HTTP/1.1", ended),
		first("a byte above ASCII in the path", "GET ROW/\xc3\xa4 HTTP/1.1", ended),
		first("escaped line ends", "GET ROW/x%0d%0aa:%20b HTTP/1.1", get+"%0d%0aa:%20b"),
	})
}

// TestNoTargetLeadsElsewhere: whatever a client asks for, it is the provider's own host that is asked, or nobody.
func TestNoTargetLeadsElsewhere(t *testing.T) {
	w := startWire(t, nil)
	g := startWith(t, func(o *Options) { o.First, o.Prefix = w.url, "/v1/" }, one)
	const (
		ended   = "400 bad_request, ended"
		foreign = "403 host_refused, in step"
		unknown = "404 unknown_route, in step"
		get     = "200, in step: GET /x"
	)
	target := func(name, target, want string) attempt {
		return attempt{name, "GET " + target + " HTTP/1.1|HOST||", want}
	}
	hosts := func(name, hosts, want string) attempt {
		return attempt{name, "GET ROW/x HTTP/1.1|" + hosts + "||", want}
	}
	head := func(name, head, want string) attempt { return attempt{name, head, want} }

	g.all(t, w, []attempt{
		target("a URL", "http://localhostROW/x", get),
		hosts("a URL and another Host", "host: localhost", get),
		target("another host's URL", "http://attacker.exampleROW/x", foreign),
		target("another port's URL", "http://localhost:1ROW/x", get), // the port leads nowhere
		target("Envoy's admin", "http://ENVOYADMIN/stats", unknown),
		target("Envoy's admin, where a route is", "http://ENVOYADMINROW/x", get),
		target("the cloud's metadata", "http://169.254.169.254ROW/x", foreign),
		target("a URL with another host as user", "http://attacker.example@localhostROW/x", get),
		target("a URL with our host as user", "http://localhost@attacker.exampleROW/x", foreign),
		target("an https URL", "https://localhostROW/x", "403 bad_request, ended"),
		target("an ftp URL", "ftp://localhostROW/x", ended),
		target("a file", "file:///etc/passwd", ended),
		target("a URL without a path", "http://localhost", unknown),
		target("a URL with a query alone", "http://localhost?ROW/x", unknown),
		target("a URL in the path", "/http://attacker.exampleROW/x", unknown),
		target("a path without a slash", "v1/x", ended),
		target("a host", "localhost", ended),
		target("a host after @", "@attacker.exampleROW/x", ended),
		target("a star", "*", ended),
		head("a URL with another Host", "GET http://localhostROW/x HTTP/1.1|host: attacker.example||", get),

		hosts("no host", "x: y", ended),
		hosts("an empty host", "host:", foreign),
		hosts("two hosts", "host: localhost|host: attacker.example", foreign),
		hosts("the same host twice", "host: localhost|host: localhost", foreign),
		hosts("a host with a path", "host: localhost/v1", ended),
		hosts("a host with a user", "host: x@localhost", foreign),
		hosts("hosts in a list", "host: localhost, attacker.example", ended),
		hosts("two words for a host", "host: localhost attacker.example", ended),

		head("OPTIONS *", "OPTIONS * HTTP/1.1|HOST||", unknown),
		head("OPTIONS", "OPTIONS ROW/x HTTP/1.1|HOST||", "200, in step: OPTIONS /x"),
		head("TRACE", "TRACE ROW/x HTTP/1.1|HOST||", "405 method_not_allowed, in step"),
		head("TRACE by a header", "POST ROW/x HTTP/1.1|HOST|x-http-method-override: TRACE|content-length: 0||",
			"405 method_not_allowed, in step"),
		head("CONNECT", "CONNECT attacker.example:443 HTTP/1.1|host: attacker.example:443||SMUGGLED",
			"403 host_refused, ended"),
		head("CONNECT to this host", "CONNECT localhost:443 HTTP/1.1|HOST||SMUGGLED", "404 unknown_route, ended"),
		head("CONNECT to a path", "CONNECT ROW/x HTTP/1.1|HOST||SMUGGLED", ended),
		head("CONNECT with a body", "CONNECT localhost:443 HTTP/1.1|HOST|content-length: LENGTH||SMUGGLED", ended),

		hosts("h2c", "HOST|connection: upgrade, http2-settings|upgrade: h2c|http2-settings: AAMAAABkAARAAAAAAAIAAAAA", get),
		hosts("connect-udp", "HOST|connection: upgrade|upgrade: connect-udp", get),
		head("h2c with a body", "POST ROW/x HTTP/1.1|HOST|connection: upgrade|upgrade: h2c|content-length: 2||{}",
			"200, in step: POST /x {}"),
		hosts("Connection: authorization", "HOST|connection: authorization, x-tokenward-cluster", get),
		hosts("Connection: host", "HOST|connection: host", ended),
		head("Connection: content-length", "POST ROW/x HTTP/1.1|HOST|connection: content-length|content-length: 2||{}",
			"200, in step: POST /x {}"),
		hosts("Proxy-Connection: close", "HOST|proxy-connection: close", "200, ended: GET /x"),
	})
}
