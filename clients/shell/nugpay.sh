#!/bin/sh
# A NUG Pay wallet with curl and openssl: shows all there is to a signed request.
#
#   nugpay.sh key                              make a device key (NUGPAY_KEY, device.pem by default)
#   nugpay.sh enrol CODE                       enrol this device with a one-time code
#   nugpay.sh open @HANDLE                     open the wallet
#   nugpay.sh pay @PAYEE AMOUNT ASSET [ID]     pay; give the ID again to repeat a payment safely
#   nugpay.sh get PATH                         such as /v1/balances or /v1/history?limit=5
#   nugpay.sh post PATH JSON                   any other request
#
# With NUGPAY_SHOW=1 the curl command is printed instead of run: what goes over the wire, ready to paste.
# NUGPAY_API is the server (http://127.0.0.1:8080 by default); NUGPAY_LANGUAGE is the language of refusals,
# such as my. Needs openssl 1.1.1 or later.
set -eu

API=${NUGPAY_API:-http://127.0.0.1:8080}
KEY=${NUGPAY_KEY:-device.pem}

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# The public key as a JSON Web Key, members in the order that its thumbprint (RFC 7638) hashes.
jwk() {
    x=$(openssl pkey -in "$KEY" -pubout -outform DER | tail -c 32 | base64url)
    printf '{"crv":"Ed25519","kty":"OKP","x":"%s"}' "$x"
}

# A UUIDv7 (RFC 9562): milliseconds since 1970, then random bits.
new_id() {
    random=$(openssl rand -hex 10)
    printf '%012x' "$(date +%s)000" | sed 's/^\(.\{8\}\)\(.\{4\}\)$/\1-\2/'
    printf -- '-7%s-8%s-%s\n' "$(printf %s "$random" | cut -c1-3)" \
        "$(printf %s "$random" | cut -c4-6)" "$(printf %s "$random" | cut -c7-18)"
}

# send METHOD PATH [BODY]: the one signature profile of the API (RFC 9421, RFC 9530).
send() {
    method=$1 url=$API$2 body=${3:-}
    key_id=$(jwk | openssl dgst -sha256 -binary | base64url)
    covered='"@method" "@target-uri"' digest=''
    if [ -n "$body" ]; then
        covered="$covered \"content-digest\""
        digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | openssl base64 -A):"
    fi
    parameters="($covered);created=$(date +%s);nonce=\"$(openssl rand -hex 16)\";keyid=\"$key_id\";alg=\"ed25519\""
    signed=$(mktemp)
    {
        printf '"@method": %s\n"@target-uri": %s\n' "$method" "$url"
        [ -z "$digest" ] || printf '"content-digest": %s\n' "$digest"
        printf '"@signature-params": %s' "$parameters"
    } >"$signed"
    signature=$(openssl pkeyutl -sign -inkey "$KEY" -rawin -in "$signed" | openssl base64 -A)
    rm -f "$signed"
    set -- -sS -X "$method" "$url" -H "Signature-Input: sig=$parameters" -H "Signature: sig=:$signature:"
    [ -z "${NUGPAY_LANGUAGE:-}" ] || set -- "$@" -H "Accept-Language: $NUGPAY_LANGUAGE"
    if [ -n "$body" ]; then
        set -- "$@" -H "Content-Digest: $digest" -H 'Content-Type: application/json' --data-binary "$body"
    fi
    if [ -n "${NUGPAY_SHOW:-}" ]; then
        printf 'curl'
        for word; do printf " '%s'" "$word"; done
    else
        curl "$@"
    fi
    echo
}

case ${1:-} in
key) (umask 077 && openssl genpkey -algorithm ed25519 -out "$KEY") ;;
enrol) send POST /v1/enrolments "{\"code\":\"$2\",\"public_key\":$(jwk)}" ;;
open) send POST /v1/wallet "{\"handle\":\"$2\"}" ;;
pay)
    id=${5:-$(new_id)}
    echo "$id" >&2 # Known before it is sent: whatever happens, the same id pays once.
    send POST /v1/payments "{\"id\":\"$id\",\"payee\":\"$2\",\"amount\":\"$3\",\"asset\":\"$4\"}"
    ;;
get) send GET "$2" ;;
post) send POST "$2" "$3" ;;
*) sed -n '2,13s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
