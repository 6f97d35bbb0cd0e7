{{/*
Owns: what is computed of the values: the drain, memory, shares of rates. Never: a fault (see
_checks.tpl). Each gives JSON.
*/}}

{{/* preset, preStop, min, max, grace, needed: seconds. */}}
{{- define "gavel.drain" -}}
{{- $v := .Values -}}
{{- $preset := $v.drain.preset -}}
{{- if eq $preset "auto" -}}
{{- if $v.service.nlb.enabled -}}{{- $preset = "nlb" -}}
{{- else if include "gavel.isBehindAlb" . -}}{{- $preset = "alb" -}}
{{- else -}}{{- $preset = "service" -}}
{{- end -}}
{{- end -}}
{{- /* service: endpoints are gone from every node within 5 s. alb: the controller hears of it, then
the balancer lets go of the target. nlb: ip targets take about two minutes, in which the pod serves
as ever, so that connections are not made for single requests. Each sums to 20, 60, 130 with 5 s for
the end of the process. */ -}}
{{- $known := dict
  "service" (dict "preStop" 5 "min" 3 "max" 7)
  "alb" (dict "preStop" 25 "min" 20 "max" 10)
  "nlb" (dict "preStop" 100 "min" 15 "max" 10) -}}
{{- $it := get $known $preset -}}
{{- $preStop := $v.drain.preStopSeconds | default (get $it "preStop") | int -}}
{{- $min := ternary (get $it "min") $v.drain.minSeconds (kindIs "invalid" $v.drain.minSeconds) | int -}}
{{- $max := $v.drain.maxSeconds | default (get $it "max") | int -}}
{{- $needed := add $preStop $min $max 5 | int -}}
{{- $grace := $v.drain.terminationGracePeriodSeconds | default $needed | int -}}
{{- dict "preset" $preset "preStop" $preStop "min" $min "max" $max "needed" $needed "grace" $grace | toJson -}}
{{- end -}}

{{/* replicas of every pool that could run at once, the canary's too. */}}
{{- define "gavel.shares" -}}
{{- $sum := 0 -}}
{{- range $name := include "gavel.pools" . | fromJsonArray -}}
{{- $pool := get $.Values.pools $name -}}
{{- $scaler := $pool.hpa | default $pool.keda -}}
{{- if $scaler -}}
{{- $sum = add $sum (int $scaler.maxReplicas) -}}
{{- else -}}
{{- $sum = add $sum (int (include "gavel.replicas" $pool)) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.canary.kind "httpRoute" -}}{{- $sum = add $sum (int .Values.canary.replicas) -}}{{- end -}}
{{- .Values.qpsShares | default $sum | int -}}
{{- end -}}

{{/* of a pool without an autoscaler; 0 stays 0, so that it can be refused. */}}
{{- define "gavel.replicas" -}}
{{- ternary 3 .replicas (kindIs "invalid" .replicas) | int -}}
{{- end -}}

{{/* MiB that a pod needs: 256, 128 for each worker, of each database two generations and the
compressed bytes of the new one, and the journal's. */}}
{{- define "gavel.memoryNeeded" -}}
{{- $cpu := .pool.cpu | default .root.Values.resources.cpu | int -}}
{{- $databases := 0 -}}
{{- range $role, $file := .root.Values.databases.files -}}
{{- if $file -}}{{- $databases = add $databases (int $file.sizeMiB) -}}{{- end -}}
{{- end -}}
{{- add 256 (mul 128 $cpu) (div (add (mul 5 $databases) 1) 2) (include "gavel.journalMemory" .root | int) | int -}}
{{- end -}}

{{/* Whether any database has this source: "true" or nothing. */}}
{{- define "gavel.hasSource" -}}
{{- $from := .from -}}
{{- $found := false -}}
{{- range $role, $file := .root.Values.databases.files -}}
{{- if and $file (eq $file.from $from) -}}{{- $found = true -}}{{- end -}}
{{- end -}}
{{- if $found -}}true{{- end -}}
{{- end -}}

{{/* Name of the rules' volume source: kind and name, as JSON. */}}
{{- define "gavel.rules" -}}
{{- $rules := .Values.rules -}}
{{- if $rules.existing.name -}}
{{- dict "kind" $rules.existing.kind "name" $rules.existing.name "files" $rules.existing.files | toJson -}}
{{- else -}}
{{- dict "kind" (ternary "Secret" "ConfigMap" $rules.secret) "name" (printf "%s-rules" (include "gavel.fullname" .)) "files" (keys $rules.files | sortAlpha) | toJson -}}
{{- end -}}
{{- end -}}
