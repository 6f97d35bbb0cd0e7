{{/*
Owns: refusals: what is wrong, why it would hurt, what to do (those of events are in _events.tpl).
All faults come in one message.
Never: a default. Invariant: what passes here renders without an error of a template.
*/}}

{{- define "gavel.check" -}}
{{- $faults := concat
  (include "gavel.checkNames" . | fromJsonArray)
  (include "gavel.checkPools" . | fromJsonArray)
  (include "gavel.checkProcess" . | fromJsonArray)
  (include "gavel.checkEvents" . | fromJsonArray)
  (include "gavel.checkSettings" . | fromJsonArray)
  (include "gavel.checkFiles" . | fromJsonArray)
  (include "gavel.checkEntry" . | fromJsonArray)
  (include "gavel.checkReplay" . | fromJsonArray) -}}
{{- if $faults -}}
{{- fail (printf "\n\n%d fault(s) in the values:\n  - %s\n" (len $faults) (join "\n  - " $faults)) -}}
{{- end -}}
{{- end -}}

{{/* Keys that other charts have, and lengths that Kubernetes would refuse later. The schema lets these
keys pass, so that each gets its sentence; every other unknown key is refused by the schema. */}}
{{- define "gavel.checkNames" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $elsewhere := dict
  "replicaCount" "`pools.main.replicas`" "replicas" "`pools.main.replicas`" "autoscaling" "`pools.main.hpa` or `pools.main.keda`"
  "hpa" "`pools.main.hpa`" "keda" "`pools.main.keda`" "nodeSelector" "`pools.main.nodeSelector`" "tolerations" "`pools.main.tolerations`"
  "affinity" "`pools.main` (`capacity`, `instanceFamilies`, `instanceTypes`) and `spread`" "topologySpreadConstraints" "`spread`"
  "env" "`extraEnv`" "config" "`settings` and `rules.files`" "podDisruptionBudget" "`pools.main.maxUnavailable`"
  "terminationGracePeriodSeconds" "`drain`" "readinessProbe" "/ready, which says what readiness is"
  "securityContext" "nothing: Pod Security `restricted` is met as it is" "podSecurityContext" "nowhere: Pod Security `restricted` is met as it is"
  "hostNetwork" "nothing: with the node's network its ports and sysctls would be shared" -}}
{{- range $key, $where := $elsewhere -}}
{{- if hasKey $v $key -}}
{{- $faults = append $faults (printf "%s is no value of this chart; what it is for stands in %s" $key $where) -}}
{{- end -}}
{{- end -}}
{{- $full := include "gavel.fullname" . -}}
{{- range $name := include "gavel.pools" . | fromJsonArray -}}
{{- if gt (len (printf "%s-%s" $full $name)) 52 -}}
{{- $faults = append $faults (printf "%s-%s: a name of more than 52 letters; labels that Kubernetes derives from it hold 63: shorten the release, or set `fullnameOverride`" $full $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.replay.enabled (gt (len (printf "%s-replay-%s-%d" $full $v.replay.run (int $v.replay.shards))) 62) -}}
{{- $faults = append $faults (printf "replay.run: %s-replay-%s is too long for the names of the Job's pods (63 with the index); shorten it" $full $v.replay.run) -}}
{{- end -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "gavel-pool" "gavel-track" -}}
{{- if hasKey $v.podLabels $label -}}
{{- $faults = append $faults (printf "podLabels: %s is written by the chart, and selects the pods; remove it" $label) -}}
{{- end -}}
{{- end -}}
{{- range $note := list "checksum/settings" "kubectl.kubernetes.io/default-container" -}}
{{- if hasKey $v.podAnnotations $note -}}
{{- $faults = append $faults (printf "podAnnotations: %s is written by the chart; remove it" $note) -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}

{{- define "gavel.checkPools" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $names := include "gavel.pools" . | fromJsonArray -}}
{{- if not $names -}}
{{- $faults = append $faults "pools: there is none, so nothing would serve: name one, such as `main: {}`" -}}
{{- end -}}
{{- range $name := $names -}}
{{- $pool := get $v.pools $name -}}
{{- $at := printf "pools.%s" $name -}}
{{- if and $pool.hpa $pool.keda -}}
{{- $faults = append $faults (printf "%s: `hpa` and `keda` together: KEDA makes a HorizontalPodAutoscaler of its own, and two would fight over the replicas; keep one" $at) -}}
{{- end -}}
{{- $scaler := $pool.hpa | default $pool.keda -}}
{{- if and $scaler (not (kindIs "invalid" $pool.replicas)) -}}
{{- $faults = append $faults (printf "%s.replicas: an autoscaler decides, and every upgrade would set it back to this number; remove it, and say `minReplicas`" $at) -}}
{{- else if eq (include "gavel.replicas" $pool) "0" -}}
{{- $faults = append $faults (printf "%s.replicas: 0 serves nobody; say at least 1, or take the pool away with `%s: null`" $at $name) -}}
{{- end -}}
{{- if $scaler -}}
{{- if lt (int $scaler.minReplicas) 1 -}}
{{- $faults = append $faults (printf "%s: `minReplicas` is %d, and 0 serves nobody; say at least 1, better 2" $at (int $scaler.minReplicas)) -}}
{{- else if lt (int $scaler.maxReplicas) (int $scaler.minReplicas) -}}
{{- $faults = append $faults (printf "%s: `maxReplicas` %d is less than `minReplicas` %d" $at (int $scaler.maxReplicas) (int $scaler.minReplicas)) -}}
{{- end -}}
{{- end -}}
{{- $memory := $pool.memoryMiB | default $v.resources.memoryMiB | int -}}
{{- $needed := include "gavel.memoryNeeded" (dict "root" $ "pool" $pool) | int -}}
{{- if lt $memory $needed -}}
{{- $faults = append $faults (printf "%s: %d MiB of memory are less than the %d MiB that workers and two generations of the databases%s take at a reload: the pod would be killed then; raise `memoryMiB`" $at $memory $needed (ternary " and the journal" "" (ne (include "gavel.hasJournal" $) ""))) -}}
{{- end -}}
{{- if and $v.sysctls.somaxconn (not $pool.nodeSelector) -}}
{{- $faults = append $faults (printf "sysctls.somaxconn without %s.nodeSelector: a node that does not allow the sysctl fails the pod, and the Deployment makes new ones without end; name the label of nodes whose kubelet has it in `allowedUnsafeSysctls` (examples are in k8s/nodes), or leave it out: a pod starts at 4096" $at) -}}
{{- end -}}
{{- if has (toString $pool.maxUnavailable) (list "0" "0%") -}}
{{- $faults = append $faults (printf "%s.maxUnavailable: %v lets no node be drained, ever; say 1 or a share" $at $pool.maxUnavailable) -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}

{{- define "gavel.checkProcess" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- range $probe := list "livenessProbe" "startupProbe" -}}
{{- if not (kindIs "invalid" (index $v $probe)) -}}
{{- $faults = append $faults (printf "%s: gavel has readiness only: a restart would cut auctions under way and destroy the evidence, and what is wrong stands on /ready; remove it" $probe) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.workload.kind "StatefulSet") (ne $v.canary.kind "none") -}}
{{- $faults = append $faults "canary.kind: a StatefulSet has no canary: its pods have disks; use `canary.kind: none`, or a Deployment" -}}
{{- end -}}
{{- if and (eq $v.workload.kind "Deployment") (has (toString $v.workload.maxSurge) (list "0" "0%")) -}}
{{- $faults = append $faults (printf "workload.maxSurge: %v lets no new pod come, and no old one goes before it: a rollout would be refused or never move; say 1 or a share" $v.workload.maxSurge) -}}
{{- end -}}
{{- if $v.sysctls.somaxconn -}}
{{- if le (int $v.sysctls.somaxconn) 4096 -}}
{{- $faults = append $faults (printf "sysctls.somaxconn: %d is not more than the 4096 that a pod starts with; leave it out" (int $v.sysctls.somaxconn)) -}}
{{- end -}}
{{- end -}}
{{- $drain := include "gavel.drain" . | fromJson -}}
{{- if lt (int $drain.grace) (int $drain.needed) -}}
{{- $faults = append $faults (printf "drain.terminationGracePeriodSeconds: %d is shorter than the drain: preStop %d + min %d + max %d + 5 to end = %d; the pod would be killed with requests in flight; leave it out (it is computed) or shorten the drain" (int $drain.grace) (int $drain.preStop) (int $drain.min) (int $drain.max) (int $drain.needed)) -}}
{{- end -}}
{{- range $name := include "gavel.pools" . | fromJsonArray -}}
{{- $pool := get $v.pools $name -}}
{{- if and (eq ($pool.capacity | default "any") "spot") (ge (int $drain.needed) 90) (not $v.service.nlb.enabled) -}}
{{- $faults = append $faults (printf "drain: %d s on the spot pool %q: a spot node goes two minutes after its notice, and the drain must be over in less than 90 s; shorten it" (int $drain.needed) $name) -}}
{{- end -}}
{{- end -}}
{{- range $one := $v.extraEnv -}}
{{- if has $one.name (list "GAVEL_OPERATIONS" "GAVEL_KEEP" "RUST_LOG") -}}
{{- $faults = append $faults (printf "extraEnv: %s is written by the chart; remove it (the level of the log is `logLevel`)" $one.name) -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}

{{/* Keys of gavel that follow from other values. */}}
{{- define "gavel.checkSettings" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $written := dict
  "include" "`rules.files`" "checksums" "nothing: files of one ConfigMap change together" "replicas" "`qpsShares`"
  "sellers_json" "`rules.sellersJson`" "drain" "`drain`" "partners" "`rules.files`" "bidders" "`rules.files`" "floors" "`rules.files`" "rates" "`rules.files`"
  "http.listen" "`listenIp`" "admin.listen" "nothing: the admin listener stays on loopback" "network.ca_file" "`caBundle`"
  "journal.dir" "nothing: it is on the volume" "journal.spill_dir" "`workload.storage.spillSize`" "journal.disk_bytes_max" "`workload.storage.size`"
  "broker.urls" "`broker.urls`" "broker.credentials_file" "`broker.credentialsKey`" "broker.password_file" "`broker.passwordKey`" "broker.ca_file" "`broker.caKey`" "broker.cert_file" "`broker.certKey`" "broker.key_file" "`broker.keyKey`"
  "events.ack" "`events.ack`" "events.url" "`events.url`" "events.keys" "`events.keys`, and the secrets from a Secret" -}}
{{- range $role := list "city" "country" "isp" "asn" "connection_type" "anonymous" "device_regexes" "device_models" -}}
{{- $_ := set $written (printf "databases.%s" $role) "`databases.files`" -}}
{{- end -}}
{{- range $key, $instead := $written -}}
{{- $parts := splitList "." $key -}}
{{- $table := ternary $v.settings (get $v.settings (first $parts)) (eq (len $parts) 1) -}}
{{- if and (kindIs "map" $table) (hasKey $table (last $parts)) -}}
{{- $faults = append $faults (printf "settings.%s is written by the chart, from %s; remove it" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}

{{- define "gavel.checkFiles" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- if and $v.rules.existing.name $v.rules.files -}}
{{- $faults = append $faults "rules: `files` and `existing.name` together: which would count? Keep one" -}}
{{- end -}}
{{- if and $v.rules.existing.name (not $v.rules.existing.files) -}}
{{- $faults = append $faults (printf "rules.existing.files: gavel reads the files that are named, and none is; say which of %q it should include" $v.rules.existing.name) -}}
{{- end -}}
{{- $bytes := 0 -}}
{{- range $file, $text := $v.rules.files -}}
{{- $bytes = add $bytes (len $text) -}}
{{- end -}}
{{- if gt (int $bytes) 1048576 -}}
{{- $faults = append $faults (printf "rules.files: %d bytes are more than the 1048576 that a ConfigMap holds; make several elsewhere and name a volume's worth with `rules.existing`, or split the release" (int $bytes)) -}}
{{- end -}}
{{- if not $v.rules.secret -}}
{{- range $file, $text := $v.rules.files -}}
{{- /* one that is not only a reference to a file or the environment */ -}}
{{- if regexMatch `(?m)^[ \t]*headers[ \t]*=[ \t]*\[(\s*["'][^"']*\$\{[^"']*["']\s*,?)*\s*["'][^"'$]*["']` $text -}}
{{- $faults = append $faults (printf "rules.files: %s has `headers` of a bidder, which may hold passwords, and would stand in a ConfigMap; set `rules.secret: true`, or write ${file:../secrets/NAME/KEY} for them and name the Secret in `secrets`" $file) -}}
{{- end -}}
{{- if regexMatch `(encryption|integrity)_key["']?[ \t]*=[ \t]*["']+[^"'$]` $text -}}
{{- $faults = append $faults (printf "rules.files: %s has keys of a bidder's prices, and would stand in a ConfigMap; set `rules.secret: true`, or write ${file:../secrets/NAME/KEY} for them and name the Secret in `secrets`" $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $role, $file := $v.databases.files -}}
{{- if $file -}}
{{- $at := printf "databases.files.%s" $role -}}
{{- $wants := dict "values" list "configMap" (list "name" "key") "split" (list "set" "configMaps") "sync" (list "file") "image" (list "image" "file") -}}
{{- range $key := get $wants $file.from -}}
{{- if not (get $file $key) -}}
{{- $faults = append $faults (printf "%s: `from: %s` needs `%s`" $at $file.from $key) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $file.from "values") (eq (empty $file.text) (empty $file.base64)) -}}
{{- $faults = append $faults (printf "%s: `from: values` needs one of `text` and `base64`" $at) -}}
{{- end -}}
{{- if and (eq $file.from "split") (hasPrefix "device_" $role) -}}
{{- $faults = append $faults (printf "%s: only address databases come in parts; use `from: configMap`, `sync` or `image`" $at) -}}
{{- end -}}
{{- if and (has $file.from (list "split" "sync" "image")) (not $file.sizeMiB) -}}
{{- $faults = append $faults (printf "%s: `sizeMiB` is missing: what it takes in memory, so that the pod's memory can be checked against two generations of it" $at) -}}
{{- end -}}
{{- if and (eq $file.from "image") (not (semverCompare ">=1.33.0-0" $.Capabilities.KubeVersion.Version)) -}}
{{- $faults = append $faults (printf "%s: image volumes come with Kubernetes 1.33 (feature gate ImageVolume), and this cluster says %s; use `from: sync` or `split`" $at $.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if include "gavel.hasSource" (dict "root" . "from" "sync") -}}
{{- range $key := list "image" "initCommand" "command" -}}
{{- if not (get $v.databases.sync $key) -}}
{{- $faults = append $faults (printf "databases.sync.%s is missing: a database comes `from: sync`" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}

{{- define "gavel.checkEntry" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $nlb := $v.service.nlb -}}
{{- if and $nlb.enabled (eq $nlb.targetType "ip") -}}
{{- range $name := include "gavel.pools" . | fromJsonArray -}}
{{- $capacity := (get $v.pools $name).capacity | default "any" -}}
{{- if ne $capacity "on-demand" -}}
{{- $faults = append $faults (printf "service.nlb.targetType: ip targets with the pool %q of capacity %q: an NLB takes about two minutes to let go of a pod, and a spot node is gone by then, with its connections; say `capacity: on-demand`, or put an ALB or `targetType: instance` in front" $name $capacity) -}}
{{- end -}}
{{- end -}}
{{- else if $nlb.enabled -}}
{{- range $name := include "gavel.pools" . | fromJsonArray -}}
{{- if eq ((get $v.pools $name).capacity | default "any") "spot" -}}
{{- $drain := include "gavel.drain" $ | fromJson -}}
{{- if ge (int $drain.needed) 90 -}}
{{- $faults = append $faults (printf "drain: %d s behind an NLB on the spot pool %q: the drain must be over in less than 90 s; set `drain.preset: alb`, which an NLB with instance targets can do with" (int $drain.needed) $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (or (include "gavel.isBehindAlb" .) (and $nlb.enabled (eq $nlb.targetType "ip"))) (not $v.loadBalancerCidrs) -}}
{{- $faults = append $faults "loadBalancerCidrs: empty with a load balancer in front: its health checks could not reach /ready, and an ALB would be taken for the client of every request; name its subnets" -}}
{{- end -}}
{{- if and $v.ingress.enabled $nlb.enabled -}}
{{- $faults = append $faults "ingress.enabled and service.nlb.enabled together: one Service cannot be both the ALB's target and a load balancer; keep one, or install a second release" -}}
{{- end -}}
{{- if and $v.service.trafficDistribution (not (semverCompare ">=1.31.0-0" .Capabilities.KubeVersion.Version)) -}}
{{- $faults = append $faults (printf "service.trafficDistribution: comes with Kubernetes 1.31, and this cluster says %s; leave it empty" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- $old := $v.httpRoute.oldFleet -}}
{{- if $old.service -}}
{{- if not $v.httpRoute.enabled -}}
{{- $faults = append $faults "httpRoute.oldFleet without httpRoute.enabled: nothing would share the requests; enable the route" -}}
{{- end -}}
{{- if eq $v.canary.kind "rollouts" -}}
{{- $faults = append $faults "httpRoute.oldFleet with canary.kind rollouts: the Rollout writes the weights of the route, and the old fleet would lose its share; use `canary.kind: httpRoute` or none until the move is done" -}}
{{- end -}}
{{- $sum := add (int $old.perTenThousand) (ternary (int $v.canary.perTenThousand) 0 (eq $v.canary.kind "httpRoute")) -}}
{{- if gt (int $sum) 10000 -}}
{{- $faults = append $faults (printf "httpRoute.oldFleet.perTenThousand and canary.perTenThousand are %d together, and there are 10000" (int $sum)) -}}
{{- end -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- $faults = append $faults "httpRoute.parentRefs: empty: the route would belong to no Gateway; name one" -}}
{{- end -}}
{{- if and (eq $v.canary.kind "httpRoute") (not $v.httpRoute.enabled) -}}
{{- $faults = append $faults "canary.kind: httpRoute without httpRoute.enabled: nothing would send the canary its share; enable the route, or use rollouts" -}}
{{- end -}}
{{- if and (eq $v.canary.kind "httpRoute") (not (or $v.canary.tag $v.canary.digest)) -}}
{{- $faults = append $faults "canary: neither `tag` nor `digest`: the canary would run what runs already; name the new image" -}}
{{- end -}}
{{- if and (eq $v.canary.kind "rollouts") $v.httpRoute.enabled (gt (len (include "gavel.pools" . | fromJsonArray)) 1) -}}
{{- $faults = append $faults "canary.kind: rollouts with httpRoute and several pools: each Rollout would set the weights of the one route; keep one pool, or leave the route out and let the share of pods decide" -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}

{{- define "gavel.checkReplay" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- if $v.replay.enabled -}}
{{- range $key := list "run" "target" "allow" "capture" "captureClaim" "resultsClaim" -}}
{{- if not (get $v.replay $key) -}}
{{- $faults = append $faults (printf "replay.%s is missing: the Job needs a name of the run, a target, its host in `allow` (it is another machine, and may be a live one), a recording, the claim that holds it and one for the results" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}
