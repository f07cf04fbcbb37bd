"""A JupyterLab of its own, and a headless Chromium that looks at it: for tests and screenshots."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--ServerApp.ip=127.0.0.1",
    "--IdentityProvider.token=",
    "--ServerApp.log_level=ERROR",
)
_RUNS = "() => [...document.querySelectorAll('.jp-InputPrompt')].some(one => /\\[(\\*|\\d+)\\]/.test(one.innerText))"


def what_is_missing() -> str:
    """Say what a Lab that can be looked at lacks here, or nothing."""
    if not any(map(shutil.which, BROWSERS)):
        return f"no browser on this machine: none of {', '.join(BROWSERS)}"
    try:
        import jupyterlab  # noqa: F401
        import papermill  # noqa: F401
        import playwright.sync_api  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Lab:
    """A server on `folder` and a page of `width` pixels; `errors` is what the browser's console complains of."""

    def __init__(self, folder: Path, width: int = 1400, height: int = 1000):
        self.folder, self.size = folder, {"width": width, "height": height}
        self.errors: list[str] = []

    def __enter__(self) -> "Lab":
        port, settings = _free_port(), self.folder / ".jupyter"
        calm = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        calm.parent.mkdir(parents=True, exist_ok=True)
        calm.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        own = {name: str(settings / name) for name in (*names, "JUPYTERLAB_WORKSPACES_DIR")}
        own["JUPYTERLAB_SETTINGS_DIR"] = str(settings)
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "jupyterlab", *_OPTIONS, f"--ServerApp.port={port}"]
        self.server = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={self.folder}"], env={**os.environ, **own, "PYTHONPATH": path}
        )
        self.url = f"http://127.0.0.1:{port}/lab"
        try:
            self._wait_for_server()
            self._open_browser()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_for_server(self) -> None:
        for _ in range(600):
            try:
                return urllib.request.urlopen(self.url).close()
            except OSError:
                if self.server.poll() is not None:
                    raise RuntimeError(f"JupyterLab ended with status {self.server.returncode}.") from None
                time.sleep(0.1)
        raise RuntimeError("JupyterLab did not answer within a minute.")

    def _open_browser(self) -> None:
        from playwright.sync_api import sync_playwright

        self.playwright = sync_playwright().start()
        browser = next(filter(None, map(shutil.which, BROWSERS)))
        self.browser = self.playwright.chromium.launch(executable_path=browser, args=list(FLAGS))
        self.page = self.browser.new_page(viewport=self.size)
        self.page.on("console", lambda message: message.type == "error" and self._complain(message.text))
        self.page.on("pageerror", lambda error: self._complain(str(error)))

    def _complain(self, text: str) -> None:
        self.errors.append(text)

    def __exit__(self, *_) -> None:
        for part, end in (("browser", "close"), ("playwright", "stop")):
            if hasattr(self, part):
                getattr(getattr(self, part), end)()
        self.server.terminate()
        self.server.wait()

    def open(self, notebook: str):
        """Open a notebook and wait until its kernel is idle; return the page."""
        self.errors.clear()
        self.page.goto(f"{self.url}/tree/{notebook}?reset")
        self.page.get_by_text(re.compile(r"^Python 3 \(ipykernel\) \| Idle$")).wait_for(timeout=180_000)
        return self.page

    def run_all(self) -> None:
        """Choose Run All Cells in the menu, again if the page was not ready for it."""
        from playwright.sync_api import TimeoutError as NothingYet

        for _ in range(6):
            self.page.get_by_role("menuitem", name="Run", exact=True).click()
            self.page.get_by_text("Run All Cells", exact=True).click()
            try:
                return self.page.wait_for_function(_RUNS, timeout=8000)
            except NothingYet:
                continue
        raise RuntimeError("Run All Cells ran nothing.")
