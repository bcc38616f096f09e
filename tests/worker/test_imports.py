"""What takes seconds to import is imported where it is used."""

import subprocess
import sys


def test_the_path_of_classify_and_the_admin_port_do_not_pay_for_torch() -> None:
    program = (
        "import sys, worker.admin, worker.classify, worker.parts, worker.serve\n"
        "heavy = ('torch', 'transformers', 'onnxruntime', 'opentelemetry')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
