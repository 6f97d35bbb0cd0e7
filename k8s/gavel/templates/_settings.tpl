{{/*
Owns: gavel.toml, and the part of it that a running process does not take anew. Never: a key that
gavel does not have (`gavel check` reads every golden render).
*/}}

{{/* A table as TOML: dict path, map. Scalars first, then tables, then lists of tables, each by name. */}}
{{- define "gavel.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .map -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value) (include "gavel.isTables" $value)) }}
{{ $key }} = {{ include "gavel.tomlValue" $value }}
{{- end -}}
{{- end -}}
{{- range $key, $value := .map -}}
{{- if and (kindIs "map" $value) $value -}}
{{- $inner := ternary $key (printf "%s.%s" $path $key) (eq $path "") }}

[{{ $inner }}]
{{- include "gavel.toml" (dict "path" $inner "map" $value) -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := .map -}}
{{- if include "gavel.isTables" $value -}}
{{- $inner := ternary $key (printf "%s.%s" $path $key) (eq $path "") }}
{{- range $value }}

[[{{ $inner }}]]
{{- include "gavel.toml" (dict "path" $inner "map" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether a value is a list of tables: "true" or nothing. */}}
{{- define "gavel.isTables" -}}
{{- if kindIs "slice" . -}}{{- if and . (kindIs "map" (first .)) -}}true{{- end -}}{{- end -}}
{{- end -}}

{{/* The numbers of a values file are floats: whole ones are written whole. */}}
{{- define "gavel.tomlValue" -}}
{{- if kindIs "slice" . -}}
[{{ range $nth, $one := . }}{{ if $nth }}, {{ end }}{{ include "gavel.tomlValue" $one }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ . | toJson }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if eq (float64 .) (float64 (int64 .)) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/* Where a database is, from the folder of gavel.toml: dict role, file. */}}
{{- define "gavel.databasePath" -}}
{{- $file := .file -}}
{{- if eq $file.from "values" -}}
{{- printf "../databases/values/%s" (include "gavel.databaseKey" .) -}}
{{- else if eq $file.from "configMap" -}}
{{- printf "../databases/%s/%s" .role $file.key -}}
{{- else if eq $file.from "split" -}}
{{- printf "../databases/%s" .role -}}
{{- else if eq $file.from "sync" -}}
{{- printf "../databases/sync/%s" $file.file -}}
{{- else -}}
{{- printf "../databases/%s/%s" .role $file.file -}}
{{- end -}}
{{- end -}}

{{/* Key of a database in the chart's own ConfigMap. */}}
{{- define "gavel.databaseKey" -}}
{{- $ends := dict "device_regexes" "yaml" "device_models" "toml" -}}
{{- printf "%s.%s" .role (get $ends .role | default "mmdb") -}}
{{- end -}}

{{/* All of gavel.toml, as JSON. */}}
{{- define "gavel.settingsMap" -}}
{{- $v := .Values -}}
{{- $map := deepCopy $v.settings -}}
{{- $http := get $map "http" | default dict -}}
{{- $_ := set $http "listen" (printf "%s:8080" $v.listenIp) -}}
{{- if include "gavel.isBehindAlb" . -}}
{{- /* an ALB uses a connection for everybody and for up to 60 s: if gavel closed it first, the
balancer would answer 502 */ -}}
{{- $_ := set $http "idle_time" ($http.idle_time | default "75s") -}}
{{- $_ := set $http "stranger_idle_time" ($http.stranger_idle_time | default "75s") -}}
{{- $_ := set $http "trusted_proxies" ($http.trusted_proxies | default $v.loadBalancerCidrs) -}}
{{- end -}}
{{- $_ := set $map "http" $http -}}
{{- $admin := get $map "admin" | default dict -}}
{{- $_ := set $map "admin" (set $admin "listen" "127.0.0.1:9091") -}}
{{- $drain := include "gavel.drain" . | fromJson -}}
{{- $_ := set $map "drain" (dict "min" (printf "%ds" (int $drain.min)) "max" (printf "%ds" (int $drain.max))) -}}
{{- $databases := get $map "databases" | default dict -}}
{{- range $role, $file := $v.databases.files -}}
{{- if $file -}}
{{- $_ := set $databases $role (include "gavel.databasePath" (dict "role" $role "file" $file)) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $map "databases" $databases -}}
{{- if $v.caBundle.configMap -}}
{{- $network := get $map "network" | default dict -}}
{{- $_ := set $map "network" (set $network "ca_file" (printf "../ca/%s" $v.caBundle.key)) -}}
{{- end -}}
{{- range $section, $table := include "gavel.eventSections" . | fromJson -}}
{{- $_ := set $map $section $table -}}
{{- end -}}
{{- $include := list -}}
{{- range (include "gavel.rules" . | fromJson).files -}}
{{- $include = append $include (printf "../rules/%s" .) -}}
{{- end -}}
{{- if $include -}}{{- $_ := set $map "include" $include -}}{{- end -}}
{{- $_ := set $map "replicas" (include "gavel.shares" . | int) -}}
{{- if $v.rules.sellersJson -}}{{- $_ := set $map "sellers_json" "../sellers/sellers.json" -}}{{- end -}}
{{- $map | toJson -}}
{{- end -}}

{{/* Whether gavel.toml belongs into a Secret: "true" or nothing. */}}
{{- define "gavel.hasSecretSettings" -}}
{{- $telemetry := index .Values.settings "telemetry" | default dict -}}
{{- $otlp := index $telemetry "otlp" | default dict -}}
{{- $capture := index .Values.settings "capture" | default dict -}}
{{- if or (index $otlp "headers") (index $capture "key") -}}true{{- end -}}
{{- end -}}

{{- define "gavel.settingsToml" -}}
{{- include "gavel.toml" (dict "path" "" "map" (include "gavel.settingsMap" . | fromJson)) | trim -}}
{{- end -}}

{{/* What a running process keeps as it started: its sum restarts the pods. The rest of gavel.toml
(include, replicas, sellers_json, privacy, capture, databases but for the sizes of caches, and what tokens are
made with) is taken while it runs. */}}
{{- define "gavel.coldSum" -}}
{{- $map := omit (include "gavel.settingsMap" . | fromJson) "include" "replicas" "sellers_json" "privacy" "capture" -}}
{{- $_ := set $map "events" (omit (get $map "events" | default dict) "url" "keys" "banner_ttl" "video_ttl") -}}
{{- $caches := pick (get $map "databases") "geo_cache_entries" "device_cache_entries" -}}
{{- $_ := set $map "databases" $caches -}}
{{- include "gavel.toml" (dict "path" "" "map" $map) | sha256sum -}}
{{- end -}}
