{{- /* Flavours and ThingVisorTypes of this release as data of a ConfigMap, with this release's images in them. */ -}}
{{- define "tephra.catalogue" -}}
{{- $root := . -}}
{{- range $path, $content := .Files.Glob "files/*/*/{flavour,thingvisor}.yaml" }}
{{ base (dir $path) }}-{{ base $path }}: |
{{- $text := $content | toString }}
{{- range $name, $image := $root.Values.images }}
{{- $text = replace (printf "localhost/tephra/%s:dev" $name) (include "tephra.image" (dict "root" $root "name" $name)) $text }}
{{- end }}
{{ $text | replace "localhost/tephra/" (printf "%s/tephra/" $root.Values.global.registry) | indent 2 }}
{{- end }}
{{- end }}
