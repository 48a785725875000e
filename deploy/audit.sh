#!/bin/sh
# audit.sh FOLDER KEYS.pem [IDENTITY]: checks an archive with sh, openssl, sha256sum, gunzip, jq and, given IDENTITY, age alone.
# FOLDER holds the objects under their keys; PREFIX (`daybook/`) is what these begin with. KEYS.pem: the signers' public keys.
# Chain, signatures, presence, hashes, names, counts, ids; the time stamps by ROOTS=roots.pem. IDENTITY opens what is sealed,
# one object at a time in $TMPDIR. Exit 0: all holds, OK. 3: broken, a line each. `verify` alone checks lines, checkpoints, claims.
set -eu && export LC_ALL=C
[ $# -ge 2 ] || { echo 'usage: sh audit.sh FOLDER KEYS.pem [IDENTITY]' >&2; exit 1; }
for f in "$1" "$2" ${3:+"$3"}; do [ -r "$f" ] || { echo "audit.sh: $f is not there, or cannot be read" >&2; exit 1; }; done
keys=$(realpath "$2") identity=${3:+$(realpath "$3")} roots=${ROOTS:+$(realpath "$ROOTS")} p=${PREFIX:-} w=$(mktemp -d)
trap 'rm -rf "$w"' EXIT && cd "$1"
said() { sed 's/^/BROKEN /' | tee -a "$w/broken"; }
broken() { echo "$*" | said; }
hash() { sha256sum | cut -c1-64; }
awk -v f="$w/key" '/^-----BEGIN/ { n++ } n { print >(f n) }' "$keys"
for k in "$w"/key*; do mv "$k" "$w/$(openssl pkey -pubin -in "$k" -outform DER | hash | cut -c1-16).pem"; done
touch "$w/ledger" "$w/broken" "$w/ids" && n=0 previous=null signer='' retired=' '
for m in "$p"manifests/[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].jsonl; do
  name=$(printf '%smanifests/%08d.jsonl' "$p" $((n + 1))); [ ! -d "$m" ] || { [ $n = 0 ] && [ ! -f "$name" ]; } || continue
  [ -f "$name" ] || { broken "$name is not there"; break; }
  head -n 1 "$m" | tr -d '\n' | tee "$w/over" >"$w/body"; case $(jq -r .signed "$w/body" 2>&1) in sha256) openssl dgst -sha256 -binary -out "$w/over" "$w/body" ;; esac
  key=$(sed -n 2p "$m" | jq -r .key 2>&1) text=$(sed -n 2p "$m" | jq -r .signature 2>&1) || :
  { cat "$w/body"; printf '\n{"key":"%s","signature":"%s"}\n' "$key" "$text"; } | cmp -s - "$m" || { broken "$m is not two lines"; break; }
  printf %s "$text" | openssl base64 -d -A >"$w/sig" && [ "$(openssl base64 -A <"$w/sig")" = "$text" ] &&
    openssl pkeyutl -verify -pubin -inkey "$w/${key##*/}.pem" -rawin -in "$w/over" -sigfile "$w/sig" >"$w/log" 2>&1 ||
    { broken "$m is signed by none of these keys"; break; }
  case $retired in *" $key "*) broken "$m: another key had replaced that which signed it"; break ;; esac
  [ "$(jq -r '"\(.format) \(.number) \(.previous.number) \(.previous.sha256)"' "$w/body")" = \
    "daybook-manifest/1 $((n + 1)) $([ $n = 0 ] && echo null || echo $n) $previous" ] || { broken "$m does not follow"; break; }
  [ "$signer" = "$key" ] || retired="$retired$signer "
  n=$((n + 1)) signer=$key previous=$(hash <"$m") && { cat "$w/body"; echo; } >>"$w/ledger"
done
for a in "$p"anchors/*.tsr "$p"anchors/*.checkpoint; do
  m=${a##*/} m="$p"manifests/${m%%[-.]*}.jsonl; if [ -f "$a" ] && [ ! -f "$m" ]; then broken "$m is not there, and was witnessed: $a"; fi
  case $a in *.tsr) [ -z "$roots" ] || [ ! -f "$a" ] || openssl ts -verify -in "$a" -data "$m" -CAfile "$roots" >"$w/log" 2>&1 || broken "$a does not hold" ;; esac
done
jq -nr 'reduce inputs as $m ({}; reduce ($m.sources | to_entries[]) as $s (.; reduce ($s.value | to_entries[]) as $d (.;
  "\($s.key) \($d.key)" as $k | $d.value as {$counts, $parts, $lateDeliveries} | .[$k].events += ([$parts[].events] | add // 0) |
  .[$k].lines += ([($parts[].deliveries, $lateDeliveries[]) | values | .count] | add // 0) |
  if $counts.delivered + $counts.recovered == .[$k].events and $counts.duplicates == .[$k].lines - $counts.delivered then . else
  .wrong += ["manifest \($m.number): counts of \($k) are not those of its objects"] end))) | .wrong[]?' "$w/ledger" | said
jq -r '.pruned[]?.key' "$w/ledger" >"$w/pruned" && jq -r '(.sources | to_entries[] | .key as $s | .value[] | (.parts[] | [$s, .ids.key, .ids.sha256, "-", .events],
  [$s, .key, .sha256[], .events]), ((.parts[].deliveries, .lateDeliveries[]) | values | [$s, .key, .sha256[], .count]),
  (.exceptions | values | [$s, .key, .sha256[], (.counts | add)])), (.quarantine[] | ["-", .key, .sha256[], .records]) |
  join(" ")' "$w/ledger" >"$w/objects"
while read -r source key bytes plain lines; do
  case /$key/ in *//* | */./* | */../*) broken "$key leads elsewhere"; continue ;; esac
  [ -f "$key" ] || { grep -qxF -- "$key" "$w/pruned" || broken "$key is not there"; continue; }
  [ "$(hash <"$key")" = "$bytes" ] || { broken "$key has other bytes"; continue; }
  if [ "$plain" = - ]; then
    gunzip -c "$key" >"$w/plain" && plain=$(hash <"$w/plain") && sort -cu "$w/plain" || broken "$key is not sorted"; sed "s/^/$source /" "$w/plain" >>"$w/ids"
  elif [ -n "$identity" ]; then
    age -d -i "$identity" "$key" >"$w/gz" 2>"$w/log" || { echo "$key cannot be opened with this identity" | tee -a "$w/broken"; continue; }
    gunzip -c "$w/gz" >"$w/plain" || :
  else continue; fi
  [ "$(hash <"$w/plain") $(wc -l <"$w/plain")" = "$plain $lines" ] || broken "$key has other lines"
  case ${key##*/} in *"$(printf %.16s "$plain")"*) ;; *) broken "$key is not named after its lines" ;; esac
done <"$w/objects"
grep -E ' evt_[0-9A-Za-z_]{14,}$' "$w/ids" | sort | uniq -d | sed 's/$/ is archived twice/' | said
ok=OK && [ ! -s "$w/broken" ] || ok='not OK'
echo "$n manifests, $(wc -l <"$w/objects") objects, newest manifest $previous, $ok" && [ "$ok" = OK ] || exit 3
