"""The two servers that are compared, on one tree, pinned to one processor."""

import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {place}/pid;
error_log {place}/error.log;
events {{ worker_connections 1024; use epoll; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush off;
  tcp_nodelay on;
  keepalive_timeout 60;
  keepalive_requests 1000000000;
  open_file_cache max=1024 inactive=60s;
  open_file_cache_valid 1s;
  client_body_temp_path {place}/body;
  proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi;
  scgi_temp_path {place}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""

TICKS = os.sysconf("SC_CLK_TCK")


def pinned(processor, urgent):
    """How a command begins that is to run there; if urgent, before everything else."""
    return [*(["chrt", "--fifo", "1"] if urgent else []), "taskset", "-c", str(processor)]


class Server:
    """A process that serves `root` at `port`."""

    def __init__(self, name, command, port, where):
        self.name, self.port = name, port
        self.process = subprocess.Popen(
            [*where, *map(str, command)], stdout=subprocess.PIPE, text=True)

    def until_it_answers(self):
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/hot/0").read()
                return self
            except urllib.error.URLError:
                time.sleep(0.01)
        raise SystemExit(f"{self.name} did not start")

    def processor_seconds(self):
        """User and system time, of all its threads, kernel workers too."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def end(self):
        """What it says at the end."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=60)[0]


def start_nginx(root, port, place, where, name="nginx"):
    place.mkdir()
    config = place / "nginx.conf"
    config.write_text(NGINX.format(place=place, port=port, root=root))
    return Server(name, ["nginx", "-e", place / "error.log", "-c", config], port, where
                  ).until_it_answers()


def start_weir(build, root, port, where):
    command = [build / "examples/http_file_server", root, "--port", port, "--measure-stalls"]
    return Server("weir", command, port, where).until_it_answers()


def worst_stall_ms(said):
    return float(re.search(r"worst stall: ([\d.]+) ms", said).group(1))
