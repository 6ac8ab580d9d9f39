{{- define "mlsrv.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mlsrv.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mlsrv.labels" -}}
{{ include "mlsrv.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "mlsrv.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mlsrv.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "mlsrv.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- /* The settings as settings.json has them. Refuses those that have values of their own. */ -}}
{{- define "mlsrv.settings" -}}
{{- $own := dict "host" "ports" "http_port" "ports.http" "grpc_port" "ports.grpc" "metrics_port" "ports.metrics" "tls_cert" "tls.secretName" "tls_key" "tls.secretName" "shutdown_delay" "shutdown.delay" "shutdown_timeout" "shutdown.timeout" -}}
{{- range $key, $value := $own -}}
{{- if hasKey $.Values.settings $key -}}
{{- fail (printf "settings.%s: the chart sets it, see the value %s" $key $value) -}}
{{- end -}}
{{- end -}}
{{- merge (deepCopy .Values.settings) (dict "model_repository_root" .Values.models.path) | toPrettyJson -}}
{{- end -}}

{{- define "mlsrv.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  {{- if .root.Values.tls.secretName }}
  scheme: HTTPS
  {{- end }}
periodSeconds: {{ .root.Values.probes.period }}
timeoutSeconds: {{ .root.Values.probes.timeout }}
{{- end -}}
