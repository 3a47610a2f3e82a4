import yaml

from service.settings import Settings
from tests.deploy.files import read_compose
from tests.places import ROOT

CONFIG = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
SERVICES = read_compose("docker-compose.yml")["services"]


def test_the_detectors_job_points_at_the_service_and_the_port_it_listens_on() -> None:
    (job,) = [each for each in CONFIG["scrape_configs"] if each["job_name"] == "detector"]
    (search,) = job["dns_sd_configs"]
    assert search["port"] == Settings.model_fields["port"].default
    assert [*search["names"], search["type"]] == ["detector", "A"]
    assert "detector" in SERVICES


def test_the_file_is_mounted_where_prometheus_is_told_to_look() -> None:
    mount = SERVICES["prometheus"]["volumes"][0]
    assert mount["source"] == "./deploy/prometheus/prometheus.yml"
    assert f"--config.file={mount['target']}" in SERVICES["prometheus"]["command"]


def test_what_prometheus_has_stored_survives_a_new_container() -> None:
    assert "prometheus-data:/prometheus" in SERVICES["prometheus"]["volumes"]
    assert "--storage.tsdb.path=/prometheus" in SERVICES["prometheus"]["command"]
