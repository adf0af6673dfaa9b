{{- define "tephra.labels" -}}
app.kubernetes.io/name: tephra
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: tephra
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tephra.selector" -}}
app.kubernetes.io/name: tephra
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* Full reference of the image called .name */ -}}
{{- define "tephra.image" -}}
{{- $image := index .root.Values.images .name -}}
{{ .root.Values.global.registry }}/{{ $image.repository }}:{{ $image.tag }}
{{- end }}

{{- define "tephra.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tephra.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Where the pods of .operator or .bus may run */ -}}
{{- define "tephra.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tephra.busUrl" -}}
{{- if .Values.bus.managed -}}
mqtts://tephra-bus.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:8883
{{- else -}}
{{ .Values.bus.external.url }}
{{- end -}}
{{- end }}
