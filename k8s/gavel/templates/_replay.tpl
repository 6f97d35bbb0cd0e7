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
- --allow
- {{ $replay.allow | quote }}
{{- if $replay.keySecret }}
# from the environment, so that it stands in no manifest
- --key
- $(GAVEL_REPLAY_KEY)
{{- end }}
{{- range $replay.args }}
- {{ . | quote }}
{{- end }}
{{- end -}}
