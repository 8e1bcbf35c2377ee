"""Express: what skips the router is answered, described and refused as what does not."""

from fastapi.routing import APIRoute

from wallet_api.app import EXPRESS, RESOURCES


def test_each_express_operation_is_a_route_with_the_same_function() -> None:
    routes = {
        (method, f"/v1{route.path}"): route.endpoint
        for resource in RESOURCES
        for route in resource.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert EXPRESS
    assert {key: routes[key] for key in EXPRESS} == EXPRESS


async def test_other_methods_and_spellings_go_to_the_router(api):
    for method, path, status, code in (
        ("GET", "/v1/payments", 405, "method_not_allowed"),
        ("POST", "/v1/balances", 405, "method_not_allowed"),
        ("POST", "/v1/payments/", 404, "route_not_found"),
        ("POST", "/v1//payments", 404, "route_not_found"),
    ):
        answer = await api.http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["x-request-id"]


async def test_a_refusal_has_the_headers_of_every_answer(api):
    answer = await api.http.post("/v1/payments")
    assert (answer.status_code, answer.json()["code"]) == (401, "signature_missing")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


async def test_an_outage_is_told_as_one(api, monkeypatch):
    phone = await api.phone("aye")
    await api.ledger.close()
    answer = await phone.get("/v1/balances")
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
