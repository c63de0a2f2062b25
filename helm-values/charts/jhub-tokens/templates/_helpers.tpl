{{- define "jhub-tokens.name" -}}
{{- .Values.fullnameOverride | default "jhub-tokens" | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "jhub-tokens.selector" -}}
app.kubernetes.io/name: jhub-tokens
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "jhub-tokens.gatewayName" -}}
{{ include "jhub-tokens.name" . }}-ssh-gateway
{{- end -}}

{{- define "jhub-tokens.gatewaySelector" -}}
{{ include "jhub-tokens.selector" . }}
app.kubernetes.io/component: ssh-gateway
{{- end -}}

{{/* How members get into their servers by SSH. */}}
{{- define "jhub-tokens.sshAddress" -}}
{{- if .Values.sshGateway.enabled -}}
gateway:{{ required "sshGateway.host: the name that members type, which DNS points at the gateway" .Values.sshGateway.host }}:{{ .Values.sshGateway.port }}
{{- else -}}
{{ .Values.ssh.address }}
{{- end -}}
{{- end -}}

{{/* Of one replica none could ever be moved; of more, all but one may be. */}}
{{- define "jhub-tokens.disruption" -}}
{{ if gt (int .) 1 }}minAvailable: 1{{ else }}maxUnavailable: 1{{ end }}
{{- end -}}

{{- define "jhub-tokens.labels" -}}
{{ include "jhub-tokens.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "jhub-tokens.secret" -}}
{{- .Values.secret.existing | default (include "jhub-tokens.name" .) -}}
{{- end -}}

{{- define "jhub-tokens.ownerSecret" -}}
{{- .Values.database.ownerSecret | default .Values.database.serviceSecret -}}
{{- end -}}

{{- define "jhub-tokens.prefix" -}}
{{- $base := trimSuffix "/" .Values.hub.baseUrl -}}
{{ $base }}/services/{{ .Values.serviceName }}/
{{- end -}}

{{- define "jhub-tokens.image" -}}
{{ required "image.name: the image with jhub-tokens, see hub-image/Dockerfile" .Values.image.name }}:{{ required "image.tag: the version of that image" .Values.image.tag }}
{{- end -}}

{{/* What every pod of ours has: nobody's root, nothing to write, no privileges. */}}
{{- define "jhub-tokens.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "jhub-tokens.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "jhub-tokens.placing" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "jhub-tokens.urlFrom" -}}
- name: JHUB_TOKENS_DATABASE
  valueFrom: {secretKeyRef: {name: {{ . }}, key: url}}
{{- end -}}
