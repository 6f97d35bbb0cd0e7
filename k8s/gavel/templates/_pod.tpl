{{/*
Owns: the template of a pod that serves. Never: a liveness or startup probe.
dict root, name (of the pool), pool, track, tag, digest
*/}}

{{- define "gavel.podSelector" -}}
{{ include "gavel.serving" .root }}
gavel-pool: {{ .name }}
gavel-track: {{ .track }}
{{- end -}}

{{- define "gavel.pod" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $pool := .pool -}}
{{- $drain := include "gavel.drain" $root | fromJson -}}
{{- $isMember := and (eq $v.workload.kind "StatefulSet") (eq .track "stable") -}}
metadata:
  labels:
    {{- include "gavel.podSelector" . | nindent 4 }}
    {{- with $v.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # of what a running process does not take anew; rules and databases are not in it
    checksum/settings: {{ include "gavel.coldSum" $root }}
    kubectl.kubernetes.io/default-container: gavel
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "gavel.serviceAccount" $root }}
  automountServiceAccountToken: false
  # no GAVEL_... of services in the environment
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ int $drain.grace }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "gavel.podSecurity" . | nindent 4 }}
    {{- with $v.sysctls.somaxconn }}
    sysctls:
      - name: net.core.somaxconn
        value: {{ int . | quote }}
    {{- end }}
  # names of bidders are whole: no search through the cluster's domains first
  dnsConfig:
    options:
      - name: ndots
        value: "1"
  {{- include "gavel.placement" . | nindent 2 }}
  {{- if include "gavel.hasSource" (dict "root" $root "from" "sync") }}
  initContainers:
    {{- include "gavel.sync" (dict "root" $root "name" "databases-first" "command" $v.databases.sync.initCommand "stays" false) | nindent 4 }}
    {{- include "gavel.sync" (dict "root" $root "name" "databases" "command" $v.databases.sync.command "stays" true) | nindent 4 }}
  {{- end }}
  containers:
    - name: gavel
      image: {{ include "gavel.image" (dict "root" $root "tag" .tag "digest" .digest) }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [serve, --config, /etc/gavel/settings/gavel.toml]
      env:
        - name: GAVEL_OPERATIONS
          value: {{ printf "%s:9090" $v.listenIp | quote }}
        - name: GAVEL_KEEP
          value: /var/lib/gavel/kept
        - name: RUST_LOG
          value: {{ $v.logLevel | quote }}
        {{- with $v.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: 8080
        - name: operations
          containerPort: 9090
      # Readiness only: a restart would destroy the evidence of what is wrong, and a faulty start
      # says why on /ready.
      readinessProbe:
        httpGet:
          path: /ready
          port: operations
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 3
      lifecycle:
        preStop:
          sleep:
            seconds: {{ int $drain.preStop }}
      resources:
        {{- $ask := dict "cpu" ($pool.cpu | default $v.resources.cpu | int | toString) "memory" (printf "%dMi" ($pool.memoryMiB | default $v.resources.memoryMiB | int)) "ephemeral-storage" (printf "%dMi" (int $v.resources.ephemeralStorageMiB)) }}
        requests: {{- toYaml $ask | nindent 10 }}
        limits: {{- toYaml $ask | nindent 10 }}
      securityContext:
        {{- include "gavel.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "gavel.mounts" $root | nindent 8 }}
  volumes:
    {{- include "gavel.volumes" (dict "root" $root "isMember" $isMember) | nindent 4 }}
{{- end -}}

{{/* The sidecar that fetches databases; of the pod's disk it has what its files take and 64 for its
log: dict root, name, command, stays */}}
{{- define "gavel.sync" -}}
{{- $sync := .root.Values.databases.sync -}}
- name: {{ .name }}
  image: {{ $sync.image }}
  {{- if .stays }}
  restartPolicy: Always
  {{- end }}
  command: {{- toYaml .command | nindent 4 }}
  {{- with $sync.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  resources:
    {{- $ask := dict "cpu" (printf "%dm" (int $sync.cpuMilli)) "memory" (printf "%dMi" (int $sync.memoryMiB)) "ephemeral-storage" (printf "%dMi" (add 64 (int $sync.volumeMiB))) }}
    requests: {{- toYaml $ask | nindent 6 }}
    limits: {{- toYaml $ask | nindent 6 }}
  securityContext:
    {{- include "gavel.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: db-sync
      mountPath: /databases
{{- end -}}

{{/* Where pods go: selectors, tolerations, spread. */}}
{{- define "gavel.placement" -}}
{{- $v := .root.Values -}}
{{- $pool := .pool -}}
{{- $selector := deepCopy ($pool.nodeSelector | default dict) -}}
{{- $architecture := $pool.architecture | default "amd64" -}}
{{- if ne $architecture "any" -}}{{- $_ := set $selector "kubernetes.io/arch" $architecture -}}{{- end -}}
{{- with $selector -}}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with $pool.tolerations -}}
tolerations:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with include "gavel.nodeTerms" $pool | fromJsonArray -}}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      # one of these: nodes of Karpenter, nodes of managed groups
      nodeSelectorTerms:
        {{- toYaml . | nindent 8 }}
{{ end -}}
topologySpreadConstraints:
  {{- $hash := ternary "controller-revision-hash" "pod-template-hash" (and (eq $v.workload.kind "StatefulSet") (eq .track "stable")) }}
  {{- if eq $v.canary.kind "rollouts" }}{{ $hash = "rollouts-pod-template-hash" }}{{ end }}
  {{- range $key, $when := dict "topology.kubernetes.io/zone" $v.spread.zone "kubernetes.io/hostname" $v.spread.node }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $when }}
    # each version is spread by itself: a rollout does not end lopsided
    matchLabelKeys: [{{ $hash }}]
    labelSelector:
      matchLabels:
        {{- include "gavel.podSelector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* nodeSelectorTerms of a pool, as a JSON list. */}}
{{- define "gavel.nodeTerms" -}}
{{- $common := list -}}
{{- with .instanceTypes -}}
{{- $common = append $common (dict "key" "node.kubernetes.io/instance-type" "operator" "In" "values" .) -}}
{{- end -}}
{{- $karpenter := $common -}}
{{- $managed := $common -}}
{{- with .instanceFamilies -}}
{{- $karpenter = append $karpenter (dict "key" "karpenter.k8s.aws/instance-family" "operator" "In" "values" .) -}}
{{- end -}}
{{- $capacity := .capacity | default "any" -}}
{{- if ne $capacity "any" -}}
{{- $karpenter = append $karpenter (dict "key" "karpenter.sh/capacity-type" "operator" "In" "values" (list $capacity)) -}}
{{- $managed = append $managed (dict "key" "eks.amazonaws.com/capacityType" "operator" "In" "values" (list (ternary "SPOT" "ON_DEMAND" (eq $capacity "spot")))) -}}
{{- end -}}
{{- $terms := list -}}
{{- if $karpenter -}}{{- $terms = append $terms (dict "matchExpressions" $karpenter) -}}{{- end -}}
{{- if and $managed (not .instanceFamilies) (ne $capacity "any") -}}{{- $terms = append $terms (dict "matchExpressions" $managed) -}}{{- end -}}
{{- $terms | toJson -}}
{{- end -}}
