{{/*
Owns: the command line of a shard. A check runs it against `gavel-replay run --help`.
*/}}

{{- define "gavel.replayArgs" -}}
{{- $replay := .Values.replay -}}
- run
- /captures/{{ $replay.capture }}
- --target
- {{ $replay.target }}
# the Job's controller sets the index
- --shard
- $(JOB_COMPLETION_INDEX)/{{ int $replay.shards }}
- --out
- /results/{{ $replay.run }}-$(JOB_COMPLETION_INDEX).json
{{- if $replay.allowRemote }}
- --allow-remote
{{- end }}
{{- range $replay.args }}
- {{ . | quote }}
{{- end }}
{{- end -}}
