#!/usr/bin/env python3
"""Checks what is in deploy/ by the linters of its formats, all without a cluster: yamllint; hadolint for the Dockerfile; kustomize, as
kubectl has it, and the schemas of Kubernetes for what it builds; promtool for the rules and their tests, and for the queries of the
dashboard. `.ci/run` runs it with what .ci/linters.txt installs and the promtool of Debian's package prometheus; `tests/cloud.rs` holds
the same files to the program."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

HERE = Path(__file__).resolve().parent
# The oldest that knows all that is used, and the newest.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]
# Kinds that KEDA brings: the program that knows their schemas is in the cluster.
FOREIGN = {"ScaledObject", "TriggerAuthentication"}


def run(*words):
    """Runs a linter and returns its stdout; ends the check where it finds anything."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def check_manifests(folder):
    """Builds a kustomization, and checks each of its objects."""
    objects = list(yaml.safe_load_all(run("kubectl", "kustomize", folder)))
    for found in objects:
        if found["kind"] in FOREIGN:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(found, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(map(str, error.path))
                sys.exit(f"{folder}: {found['kind']} of Kubernetes {version}: {where}: {error.message}")
    return objects


def check_scaling(objects):
    """Checks that the objects of KEDA name what is there."""
    of = {(found["kind"], found["metadata"]["name"]): found for found in objects}
    [scaled] = [found["spec"] for found in objects if found["kind"] == "ScaledObject"]
    target = scaled["scaleTargetRef"]
    assert (target["kind"], target["name"]) in of, target
    assert "replicas" not in of["StatefulSet", target["name"]]["spec"], "the number of instances is set twice"
    for trigger in scaled["triggers"]:
        assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in of, trigger
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), trigger


def check_alerts(rules, tests):
    """Checks that each alert is tested where it calls and where it does not."""
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    cases = [case for test in tests["tests"] for case in test.get("alert_rule_test", [])]
    for calls in (True, False):
        tested = {case["alertname"] for case in cases if bool(case.get("exp_alerts")) == calls}
        assert tested == alerts, f"tested where they {'call' if calls else 'do not call'}: {tested ^ alerts} differ"


def check_dashboard(path):
    """Checks that panels have queries, and that promtool takes them; returns how many there are."""
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels), "two panels have one id"
    assert len({panel["title"] for panel in panels}) == len(panels), "two panels have one title"
    rules = []
    for panel in panels:
        assert panel["targets"] and panel["description"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]
            query = re.sub(r"\$__rate_interval", "5m", target["expr"])
            rules.append({"record": f"panel{panel['id']}:{target['refId']}", "expr": query})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "queries.yaml")
        file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
        run("promtool", "check", "rules", file)
    return len(rules)


def main():
    # The linters are beside the Python that runs this.
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    run("yamllint", "--strict", "-c", HERE / ".yamllint", HERE, HERE.parent / "compose.yaml")
    # Debian keeps one version of a package, so that a pinned one is gone some day.
    run("hadolint", "--ignore", "DL3008", HERE.parent / "Dockerfile")
    check_manifests(HERE / "kubernetes/base")
    check_scaling(check_manifests(HERE / "kubernetes/production"))
    prometheus = HERE / "prometheus"
    run("promtool", "check", "config", "--syntax-only", prometheus / "prometheus.yaml")
    run("promtool", "check", "rules", prometheus / "rules.yaml")
    run("promtool", "test", "rules", prometheus / "rules-test.yaml")
    rules, tests = (yaml.safe_load((prometheus / name).read_text()) for name in ("rules.yaml", "rules-test.yaml"))
    check_alerts(rules, tests)
    queries = check_dashboard(HERE / "grafana/burnrec.json")
    print(f"deploy/: manifests of Kubernetes {' and '.join(VERSIONS)}, rules, their tests and {queries} queries are sound")


if __name__ == "__main__":
    main()
