from __future__ import annotations

from argosy_cluster.transport.roles import JOINERS, MANAGERS, NODES, allowed

TABLE = {"/p.Identity/Issue": JOINERS, "/p.Service/": NODES, "/p.Service/Secret": MANAGERS}


def test_a_method_without_an_entry_is_for_nobody() -> None:
    assert allowed(TABLE, "/p.Identity/Other") == frozenset()
    assert allowed(TABLE, "/p.Servic/Any") == frozenset()
    assert allowed(TABLE, "") == frozenset()
    assert allowed({}, "/p.Service/Any") == frozenset()


def test_a_service_s_entry_is_for_all_its_methods_but_those_with_their_own() -> None:
    assert allowed(TABLE, "/p.Service/Any") == NODES
    assert allowed(TABLE, "/p.Service/Secret") == MANAGERS
    assert allowed(TABLE, "/p.Identity/Issue") == JOINERS
