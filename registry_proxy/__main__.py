"""``python -m registry_proxy``, which is `registry-proxy` in a wheel."""

# isort: off
import sys

try:
    import registry_proxy  # noqa: F401 - it says where the rooms are
    from mitm import interrupt
except KeyboardInterrupt:
    sys.stderr.write("registry proxy: interrupted\n")
    sys.exit(130)
if __name__ == "__main__":
    # Before the rest is loaded, so that Ctrl-C ends that too without a traceback.
    interrupt.install()
# isort: on

from registry_proxy.command import main

if __name__ == "__main__":
    sys.exit(main())
