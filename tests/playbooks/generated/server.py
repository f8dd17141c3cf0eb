"""A server of odd answers on 127.0.0.1:8099, for `uri` and `get_url`."""

import base64
import gzip
import http.server
import json


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200, kind="text/plain", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self):
        return "odd"

    def date_time_string(self, timestamp=None):
        return "Thu, 01 Jan 2026 00:00:00 GMT"

    def log_message(self, *_):
        pass

    def act(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = self.path.split("?")[0]
        if path == "/echo":
            told = {name.lower(): value for name, value in self.headers.items() if name.lower() not in ("host", "user-agent", "accept-encoding", "connection")}
            if "boundary" in told.get("content-type", ""):
                body = body.replace(told["content-type"].split("boundary=")[1].strip('"').encode(), b"BOUNDARY")
                told["content-type"] = told["content-type"].split(";")[0]
                told.pop("content-length", None)
            self.answer(json.dumps({"method": self.command, "headers": told, "body": body.decode("latin-1"), "path": self.path}, sort_keys=True).encode(), kind="application/json")
        elif path.startswith("/status/"):
            self.answer(b"status\n", int(path.rsplit("/", 1)[1]))
        elif path.startswith("/to/"):
            self.answer(b"elsewhere", int(path.split("/")[2]), Location="/echo")
        elif path == "/loop":
            self.answer(b"", 302, Location="/loop")
        elif path == "/auth":
            good = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"joe:secret").decode()
            self.answer(b"welcome" if good else b"no", 200 if good else 401, WWW_Authenticate='Basic realm="odd"')
        elif path == "/file.txt":
            since = self.headers.get("If-Modified-Since")
            self.answer(b"" if since else b"a file\n", 304 if since else 200, Last_Modified="Thu, 01 Jan 2015 00:00:00 GMT", ETag='"one"')
        elif path == "/named":
            self.answer(b"named\n", Content_Disposition='attachment; filename="given name.txt"')
        elif path == "/gzip":
            self.answer(gzip.compress(b"packed\n", mtime=0), Content_Encoding="gzip")
        elif path == "/cookies":
            self.send_response(200)
            for one in ("a=1; Path=/", "b=two; Path=/; HttpOnly"):
                self.send_header("Set-Cookie", one)
            self.send_header("X-Twice", "1")
            self.send_header("X-Twice", "2")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        elif path == "/latin":
            self.answer(b"gr\xfcn", kind="text/plain; charset=iso-8859-1")
        elif path == "/badjson":
            self.answer(b"{no", kind="application/json")
        elif path == "/sums":
            self.answer(b"2b1db4d4a4ba8d9e4d5d6b51c7d2bd5ac5b0c3b1e3c7cf6b7a2c8e2f14a3a5bd  other.txt\n"
                        b"4b3d9e0f7e9e4b6cbb1f4b9c7b3f0b6dd4e1f0d7a1f0b0c4c3b2a19080706050  file.txt\n")
        elif path == "/goodsums":
            self.answer(b"d0cdd2ae7ae9c7f1cbf0a4cf4d5d7c5f  *file.txt\n")
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        else:
            self.answer(b"plain\n")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_FOO = act


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
