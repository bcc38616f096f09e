"""The jars of Apache Kafka: fetched once by Maven, kept in its cache."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from deploy.process import BrokerError

FOLDER: Final = Path(__file__).parent
POM: Final = FOLDER / "pom.xml"
CLASSPATH: Final = FOLDER / "target" / "classpath.txt"
FETCH_SECONDS: Final = 600.0
JAVA: Final = 17
HOW: Final = "install it (Debian: apt-get install openjdk-17-jre-headless maven)"


@cache
def java() -> str:
    """The Java to run. Raises BrokerError where there is none, or an old one."""
    found = shutil.which("java")
    if found is None:
        raise BrokerError(f"Apache Kafka needs Java {JAVA} or newer, which is not on PATH: {HOW}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r'version "(?:1\.)?(\d+)', said.stderr)  # Java 8 called itself 1.8
    number = int(version[1]) if version else 0
    if number < JAVA:
        raise BrokerError(
            f"Apache Kafka needs Java {JAVA} or newer, and {found} is {number}: {HOW}"
        )
    return found


def classpath() -> str:
    """Every jar of the pom, as `java -cp` takes it. Raises BrokerError where they can't be had."""
    java()
    if CLASSPATH.exists() and CLASSPATH.stat().st_mtime >= POM.stat().st_mtime:
        known = CLASSPATH.read_text(encoding="utf-8").strip()
        if all(Path(jar).exists() for jar in known.split(":")):
            return known
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(f"Apache Kafka's jars come by Maven, which is not on PATH: {HOW}")
    CLASSPATH.parent.mkdir(exist_ok=True)
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:build-classpath"]
    command.append(f"-Dmdep.outputFile={CLASSPATH}")
    try:
        done = subprocess.run(  # noqa: S603  (our own arguments, no shell)
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(f"Maven did not fetch the jars in {FETCH_SECONDS:.0f} s") from None
    if done.returncode:
        raise BrokerError(f"Maven could not fetch the jars of {POM}:\n{done.stdout}{done.stderr}")
    return CLASSPATH.read_text(encoding="utf-8").strip()
