{{/*
Owns: the volumes of a pod and where they are mounted. Never: a subPath (such a mount never changes).
*/}}

{{/* dict root, isMember (of a StatefulSet: its state comes from a claim) */}}
{{- define "gavel.volumes" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $name := include "gavel.fullname" $root -}}
{{- $rules := include "gavel.rules" $root | fromJson -}}
- name: settings
  {{- if include "gavel.hasSecretSettings" $root }}
  secret:
    secretName: {{ $name }}-settings
  {{- else }}
  configMap:
    name: {{ $name }}-settings
  {{- end }}
- name: rules
  {{- if eq $rules.kind "Secret" }}
  secret:
    secretName: {{ $rules.name }}
  {{- else }}
  configMap:
    name: {{ $rules.name }}
  {{- end }}
{{- if not .isMember }}
- name: state
  emptyDir:
    sizeLimit: {{ include "gavel.emptyDirMiB" $root }}Mi
{{- end }}
{{- if include "gavel.hasEvents" $root }}
- name: keys
  secret:
    secretName: {{ $v.events.keys.secret }}
    defaultMode: 0440
{{- end }}
{{- range $nth, $secret := $v.secrets }}
- name: secret-{{ $nth }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- if and $v.broker.urls $v.broker.secret }}
- name: broker
  secret:
    secretName: {{ $v.broker.secret }}
    defaultMode: 0440
{{- end }}
{{- if $v.rules.sellersJson }}
- name: sellers
  configMap:
    name: {{ $name }}-sellers
{{- end }}
{{- if $v.caBundle.configMap }}
- name: ca
  configMap:
    name: {{ $v.caBundle.configMap }}
{{- end }}
{{- if include "gavel.hasSource" (dict "root" $root "from" "values") }}
- name: db-values
  configMap:
    name: {{ $name }}-databases
{{- end }}
{{- if include "gavel.hasSource" (dict "root" $root "from" "sync") }}
- name: db-sync
  emptyDir:
    sizeLimit: {{ int $v.databases.sync.volumeMiB }}Mi
{{- end }}
{{- range $role, $file := $v.databases.files }}
{{- if $file }}
{{- $volume := printf "db-%s" ($role | replace "_" "-") }}
{{- if eq $file.from "configMap" }}
- name: {{ $volume }}
  configMap:
    name: {{ $file.name }}
{{- else if eq $file.from "split" }}
# both slots of `gavel pack-db --configmaps`: the manifest says which counts
- name: {{ $volume }}
  projected:
    sources:
      {{- range $slot := list "a" "b" }}
      {{- range $nth := until (int $file.configMaps) }}
      - configMap:
          name: {{ printf "%s-%s-%03d" $file.set $slot $nth }}
          optional: true
      {{- end }}
      {{- end }}
      - configMap:
          name: {{ $file.set }}-manifest
{{- else if eq $file.from "image" }}
- name: {{ $volume }}
  image:
    reference: {{ $file.image }}
    pullPolicy: IfNotPresent
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "gavel.mounts" -}}
{{- $v := .Values -}}
- name: settings
  mountPath: /etc/gavel/settings
  readOnly: true
- name: rules
  mountPath: /etc/gavel/rules
  readOnly: true
- name: state
  mountPath: /var/lib/gavel
{{- if $v.workload.storage.spillSize }}
- name: spill
  mountPath: /var/lib/gavel-spill
{{- end }}
{{- if include "gavel.hasEvents" . }}
- name: keys
  mountPath: /etc/gavel/keys
  readOnly: true
{{- end }}
{{- range $nth, $secret := $v.secrets }}
- name: secret-{{ $nth }}
  mountPath: /etc/gavel/secrets/{{ $secret }}
  readOnly: true
{{- end }}
{{- if and $v.broker.urls $v.broker.secret }}
- name: broker
  mountPath: /etc/gavel/broker
  readOnly: true
{{- end }}
{{- if $v.rules.sellersJson }}
- name: sellers
  mountPath: /etc/gavel/sellers
  readOnly: true
{{- end }}
{{- if $v.caBundle.configMap }}
- name: ca
  mountPath: /etc/gavel/ca
  readOnly: true
{{- end }}
{{- range $from := list "values" "sync" }}
{{- if include "gavel.hasSource" (dict "root" $ "from" $from) }}
- name: db-{{ $from }}
  mountPath: /etc/gavel/databases/{{ $from }}
  readOnly: true
{{- end }}
{{- end }}
{{- range $role, $file := $v.databases.files }}
{{- if $file }}
{{- if has $file.from (list "configMap" "split" "image") }}
- name: db-{{ $role | replace "_" "-" }}
  mountPath: /etc/gavel/databases/{{ $role }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
