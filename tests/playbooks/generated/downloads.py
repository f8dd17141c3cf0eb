"""`uri` and `get_url` against a server of odd answers."""

import odd

ADDRESSES = ["/echo", "/echo?a=b&c=%20d", "/status/404", "/status/500", "/status/204", "/to/301", "/to/302", "/to/303", "/to/307", "/to/308", "/loop", "/auth", "/file.txt", "/named", "/gzip",
             "/cookies", "/latin", "/badjson", "/plain", "/cut"]


def case(random):
    setup, names = odd.tree(random, 3)
    module = random.choice(["uri", "get_url"])

    def address():
        if random.random() < 0.08:
            return random.choice(["http://127.0.0.1:1/none", "nothing", "http://nosuch.invalid/", "file:///tmp/w/a", "https://127.0.0.1:8099/", "http://joe:secret@127.0.0.1:8099/auth", "http://[bad/", ""])
        return "http://127.0.0.1:8099" + random.choice(ADDRESSES)

    def one():
        told = {"url": address(), "timeout": 3, **odd.chosen(
            random, url_username=(0.12, ["joe"]), url_password=(0.12, ["secret", "wrong"]), force_basic_auth=(0.12, [True, False]), force=(0.15, [True, False]), http_agent=(0.05, ["mine"]),
            headers=(0.2, [{"X-One": "1", "Accept": "*/*"}, {"Content-Type": "text/x"}, {}, {"X-N": 5}]), use_proxy=(0.1, [False]), unredirected_headers=(0.05, [["X-One"]]), decompress=(0.15, [True, False]),
            validate_certs=(0.1, [False]))}
        if random.random() < 0.25:
            told.update(odd.owned(random, 0.3))
        if module == "get_url":
            told.update(odd.chosen(
                random, dest=(0.97, ["/tmp/w/got", "/tmp/w", "/tmp/w/", "/tmp/w/nodir/x", odd.path(random, names), odd.path(random, names)]), backup=(0.15, [True]),
                checksum=(0.25, ["md5:0000", "sha256:abc", "sha1:" + "a" * 40, "md5:9a0364b9e99bb480dd25e1f0284c8555", "nosuch:1", "nocolon", "sha256:http://127.0.0.1:8099/sums", "md5:http://127.0.0.1:8099/goodsums", "md5:"]),
                tmp_dest=(0.05, ["/tmp/w", "/nosuch"])))
            return told
        told.update(odd.chosen(
            random, method=(0.5, ["GET", "POST", "PUT", "HEAD", "DELETE", "post", "FOO", "PATCH"]), body=(0.4, ["a=b", {"k": "v w", "n": 1, "l": [1, "x"]}, [["a", "1"], ["b", "2"]], "{\"j\": 1}", "", "gr\u00fcn", {"f": {"filename": "/tmp/w/a"}, "t": "text"}]),
            body_format=(0.35, ["json", "form-urlencoded", "raw", "form-multipart"]), return_content=(0.5, [True, False]), status_code=(0.3, [200, [200, 404], "404", "200,500", [301, 302], 204]),
            follow_redirects=(0.3, ["all", "none", "safe", "urllib2", "yes", "no"]), dest=(0.15, ["/tmp/w/got", "/tmp/w", odd.path(random, names)]), creates=(0.08, ["/tmp/w/a", "/nosuch"]), removes=(0.08, ["/tmp/w/a", "/nosuch"]),
            src=(0.08, ["/tmp/w/a", odd.path(random, names)]), remote_src=(0.5, [True])))
        return told

    return dict(setup=setup, steps=odd.steps(random, module, one, 3), loose=["elapsed"])
