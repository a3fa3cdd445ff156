"""What `poller simulate` prints can be pasted, and there is something to see."""

from poller.commands.simulate import CUSTOMERS_SHOWN, Lively, busiest, settings_of
from poller.config import load
from poller.demo.api import Simulator


def test_the_settings_that_are_printed_are_enough_but_for_the_brokers() -> None:
    simulator = Simulator(Lively(), lambda: 1_700_000_000.0)

    settings = load({**settings_of(simulator, "http://127.0.0.1:8081"), "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"})

    assert settings.voucherify.url == "http://127.0.0.1:8081"
    assert len(settings.customers) == CUSTOMERS_SHOWN and set(settings.customers) <= set(simulator.customers)


def test_the_customers_that_are_printed_have_something_to_show_at_once() -> None:
    simulator = Simulator(Lively(), lambda: 1_700_000_000.0)

    shown = set(busiest(simulator))

    done = {
        id_: len(simulator.population.activities(customer, simulator.clock()))
        for id_, customer in zip(simulator.customers, simulator.population.customers, strict=True)
    }
    assert min(done[id_] for id_ in shown) >= max(done[id_] for id_ in done.keys() - shown)
    assert min(done[id_] for id_ in shown) > 20
