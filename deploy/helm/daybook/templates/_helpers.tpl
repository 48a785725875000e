{{- define "daybook.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "daybook.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Called with (list $ "ingest"). */}}
{{- define "daybook.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: daybook
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "daybook.labels" -}}
{{- $root := index . 0 -}}
{{- include "daybook.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- define "daybook.serviceAccount" -}}
{{- $root := index . 0 }}{{ $part := index . 1 -}}
{{- $account := index $root.Values.serviceAccount $part -}}
{{- if $account.name }}{{ $account.name }}{{ else if $root.Values.serviceAccount.create }}{{ include "daybook.name" $root }}-{{ $part }}{{ else }}default{{ end }}
{{- end }}

{{- define "daybook.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "daybook.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- /* The environment that both programs have. Called with (list $ "ingest"). */}}
{{- define "daybook.environment" -}}
{{- $root := index . 0 }}{{ $values := $root.Values -}}
- { name: DAYBOOK_SOURCES_FILE, value: /etc/daybook/secrets/sources.json }
{{- if $values.secrets.stream }}
- { name: DAYBOOK_STREAM_FILE, value: /etc/daybook/secrets/stream.json }
{{- else }}
- { name: DAYBOOK_STREAM, value: {{ $values.stream | toJson | quote }} }
{{- end }}
{{- if $values.secrets.streamKey }}
- { name: DAYBOOK_STREAM_KEY_FILE, value: /etc/daybook/secrets/stream-key }
{{- end }}
{{- range $name, $value := $values.settings }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}

{{- define "daybook.compactorEnvironment" -}}
{{- $root := index . 0 }}{{ $values := $root.Values -}}
{{- include "daybook.environment" . }}
- { name: DAYBOOK_STORE, value: {{ $values.store | toJson | quote }} }
- { name: COMPACTOR_RECIPIENTS, value: {{ $values.compactor.recipients | quote }} }
- { name: COMPACTOR_SIGNING_KEY_FILE, value: /etc/daybook/secrets/signing-key.pem }
- { name: COMPACTOR_RUN_HOUR_UTC, value: {{ $values.compactor.runHourUtc | quote }} }
{{- if $values.compactor.verifyingKeys }}
- { name: COMPACTOR_VERIFYING_KEYS, value: {{ $values.compactor.verifyingKeys | quote }} }
{{- end }}
{{- if $values.secrets.jobSecret }}
- { name: COMPACTOR_JOB_SECRET_FILE, value: /etc/daybook/secrets/job-secret }
{{- end }}
{{- if eq $values.compactor.mode "serve" }}
- { name: COMPACTOR_INGESTS, value: {{ include "daybook.ingests" $root | quote }} }
{{- end }}
{{- end }}

{{- /* The admin listeners of ingest: each pod where pods have names and a number, else any one of them. */}}
{{- define "daybook.ingests" -}}
{{- $name := printf "%s-ingest" (include "daybook.name" .) -}}
{{- if and (eq .Values.ingest.spool.type "file") (not .Values.ingest.autoscaling.enabled) -}}
{{- range $number := until (int .Values.ingest.replicas) }}{{ if $number }} {{ end }}http://{{ $name }}-{{ $number }}.{{ $name }}-pods:9464{{ end -}}
{{- else -}}
http://{{ $name }}-pods:9464
{{- end -}}
{{- end }}

{{- /* The volume of the secrets that a program needs, and no others. */}}
{{- define "daybook.secretsVolume" -}}
{{- $root := index . 0 }}{{ $part := index . 1 -}}
{{- $common := dict "sources" "sources.json" "stream" "stream.json" "streamKey" "stream-key" -}}
{{- $own := ternary (dict "spool" "spool.json") (dict "signingKey" "signing-key.pem" "jobSecret" "job-secret") (eq $part "ingest") -}}
- name: secrets
  projected:
    # Readable by the group of the pod, which is its own.
    defaultMode: 0440
    sources:
      {{- range $name, $key := merge $common $own }}
      {{- with index $root.Values.secrets $name }}
      - secret: { name: {{ . }}, items: [{ key: {{ $key }}, path: {{ $key }} }] }
      {{- end }}
      {{- end }}
{{- range (index $root.Values $part).secretFiles }}
- { name: file-{{ . }}, secret: { secretName: {{ . }}, defaultMode: 0440 } }
{{- end }}
{{- end }}

{{- define "daybook.secretMounts" -}}
{{- $root := index . 0 }}{{ $part := index . 1 -}}
- { name: secrets, mountPath: /etc/daybook/secrets, readOnly: true }
{{- range (index $root.Values $part).secretFiles }}
- { name: file-{{ . }}, mountPath: /etc/daybook/files/{{ . }}, readOnly: true }
{{- end }}
{{- end }}

{{- define "daybook.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
