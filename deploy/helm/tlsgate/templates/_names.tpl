{{- define "tlsgate.name" -}}
{{- if contains "tlsgate" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-tlsgate" (.Release.Name | trunc 42 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "tlsgate.selector" -}}
app.kubernetes.io/name: tlsgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tlsgate.labels" -}}
{{ include "tlsgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tlsgate.metadata" -}}
name: {{ include "tlsgate.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "tlsgate.labels" . | nindent 2 }}
{{- end }}
