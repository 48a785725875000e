#!/usr/bin/env bash
# One Kafka broker that speaks TLS and asks for a password (PLAIN or SCRAM-SHA-256) or a token (OAUTHBEARER), and refuses what
# its ACLs do not allow. Users: app (may do all), reader (may do nothing); passwords app-secret, reader-secret. Tokens are
# JWTs by RS256 of the key `tokenKey`, for the audience daybook-tests, of the issuer https://login.test.
# Ready: {"broker":"localhost:PORT","ca":path of the authority's certificate,"tokenKey":path of a PEM,"plaintext":"127.0.0.1:PORT","pid":…}.
source "$(dirname "$0")/kafka-broker.sh"
install_kafka
command -v openssl >/dev/null || unavailable 'kafka-tls.sh needs openssl, which is not installed'
temporary=$(mktemp -d) folder=$temporary
port=$(free_port) controller=$(free_port) secured=$(free_port)
(
  set -e
  mkdir "$folder/tls" && cd "$folder/tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=daybook-test-ca -keyout ca.key -out ca.crt
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout broker.key -out broker.csr
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >extensions
  openssl x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out broker.crt
  openssl pkcs8 -topk8 -nocrypt -in broker.key -out broker.p8
  cat broker.p8 broker.crt ca.crt >broker.pem
  node -e '
    const { generateKeyPairSync } = require("node:crypto");
    const { writeFileSync } = require("node:fs");
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync("token.key", privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    const key = { ...publicKey.export({ format: "jwk" }), kid: "tests", alg: "RS256", use: "sig" };
    writeFileSync("jwks.json", JSON.stringify({ keys: [key] }));
  '
) 2>"$folder/openssl.log" || { cat "$folder/openssl.log" >&2; rm -rf "$temporary"; exit 1; }
{
  common_properties
  cat <<PROPERTIES
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller,SASL_SSL://127.0.0.1:$secured
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://localhost:$secured
inter.broker.listener.name=PLAINTEXT
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN,OAUTHBEARER
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.sasl_ssl.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=file://$folder/tls/jwks.json
listener.name.sasl_ssl.oauthbearer.sasl.oauthbearer.expected.audience=daybook-tests
listener.name.sasl_ssl.oauthbearer.sasl.oauthbearer.expected.issuer=https://login.test
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_app="app-secret" user_reader="reader-secret";
ssl.keystore.type=PEM
ssl.keystore.location=$folder/tls/broker.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:app
log.dirs=$folder/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
PROPERTIES
} >"$folder/server.properties"
java_options+=("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://$folder/tls/jwks.json")
run_broker "{\"broker\":\"localhost:$secured\",\"tokenKey\":\"$folder/tls/token.key\",\"plaintext\":\"127.0.0.1:$port\",\"ca\":\"$folder/tls/ca.crt\"}" \
  --standalone --add-scram 'SCRAM-SHA-256=[name=app,password=app-secret]'
