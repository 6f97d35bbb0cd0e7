{{/*
Owns: what the chart writes of the journal and of events: where they are kept, how much of the volume
they take, which keys sign, and every refusal of them. Never: the words of a setting that gavel has
and the chart does not decide (`settings.journal`, `settings.events`, `settings.notices`).
Invariant: what is acknowledged by a disk is on a volume that outlives its pod.
*/}}

{{/* Who acknowledges an event: a disk of the pod, where it has one. */}}
{{- define "gavel.ack" -}}
{{- .Values.events.ack | default (ternary "local" "broker" (eq .Values.workload.kind "StatefulSet")) -}}
{{- end -}}

{{/* Whether events are taken: "true" or nothing. */}}
{{- define "gavel.hasEvents" -}}
{{- if .Values.events.url -}}true{{- end -}}
{{- end -}}

{{/* Whether pods keep a journal: "true" or nothing. Without events only where it is asked for: its
records of auctions fill a disk, and where that is full there are no auctions. In a Deployment it is
in an emptyDir: a broker has the events, and the journal gives way before the disk is full. */}}
{{- define "gavel.hasJournal" -}}
{{- $v := .Values -}}
{{- if or $v.events.url $v.broker.urls (and (eq $v.workload.kind "StatefulSet") (hasKey $v.settings "journal")) -}}true{{- end -}}
{{- end -}}

{{/* Whether the journal is on a volume that outlives the pod: "true" or nothing. */}}
{{- define "gavel.isOnDisk" -}}
{{- if eq .Values.workload.kind "StatefulSet" -}}true{{- end -}}
{{- end -}}

{{/* MiB of the emptyDir of a Deployment. */}}
{{- define "gavel.emptyDirMiB" -}}
{{- .Values.workload.storage.emptyDirMiB | default (ternary 384 64 (ne (include "gavel.hasJournal" .) "")) | int -}}
{{- end -}}

{{/* MiB of a size as Kubernetes writes it (20Gi) or gavel (256MiB, or bytes), rounded down. */}}
{{- define "gavel.mib" -}}
{{- $text := ternary . (printf "%d" (int64 .)) (kindIs "string" .) -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text | trimSuffix "B" -}}
{{- if eq $unit "Ti" -}}{{- mul $number 1048576 -}}
{{- else if eq $unit "Gi" -}}{{- mul $number 1024 -}}
{{- else if eq $unit "Mi" -}}{{- $number -}}
{{- else if eq $unit "Ki" -}}{{- div $number 1024 -}}
{{- else -}}{{- div $number 1048576 -}}
{{- end -}}
{{- end -}}

{{/* MiB of records that a volume of this size holds: an eighth is left to the file system, to letters
and to the rules that are kept, and the ballast is there beside the records. dict root, size */}}
{{- define "gavel.journalMiB" -}}
{{- $journal := .root.Values.settings.journal | default dict -}}
{{- $usual := ternary "256" "0" (ne (include "gavel.isOnDisk" .root) "") -}}
{{- $ballast := ternary (include "gavel.mib" $journal.ballast_bytes) $usual (hasKey $journal "ballast_bytes") | int64 -}}
{{- $size := include "gavel.mib" .size | int64 -}}
{{- sub (sub $size (div $size 8)) $ballast -}}
{{- end -}}

{{/* MiB that the journal takes in memory when it is full: what waits for the disk, and 48 bytes for
each event that is remembered. */}}
{{- define "gavel.journalMemory" -}}
{{- if include "gavel.hasJournal" . -}}
{{- $journal := .Values.settings.journal | default dict -}}
{{- add 128 (div (mul 48 (int64 ($journal.ids_max | default 10000000))) 1048576) -}}
{{- else -}}
0
{{- end -}}
{{- end -}}

{{/* The sections `journal`, `broker` and `events` of gavel.toml, as JSON. */}}
{{- define "gavel.eventSections" -}}
{{- $v := .Values -}}
{{- $map := pick $v.settings "journal" "broker" "events" | deepCopy -}}
{{- if include "gavel.hasJournal" . -}}
{{- $storage := $v.workload.storage -}}
{{- $journal := merge (dict "dir" "/var/lib/gavel/journal") (get $map "journal" | default dict) -}}
{{- $size := $storage.size -}}
{{- if not (include "gavel.isOnDisk" .) -}}
{{- /* small files for a small folder, and no room kept for what a broker has */ -}}
{{- $journal = merge $journal (dict "segment_bytes" "16MiB" "ballast_bytes" "0B") -}}
{{- $size = printf "%sMi" (include "gavel.emptyDirMiB" .) -}}
{{- end -}}
{{- $least := include "gavel.journalMiB" (dict "root" . "size" $size) | int64 -}}
{{- if $storage.spillSize -}}
{{- $_ := set $journal "spill_dir" "/var/lib/gavel-spill/journal" -}}
{{- $least = min $least (include "gavel.journalMiB" (dict "root" . "size" $storage.spillSize) | int64) -}}
{{- end -}}
{{- $_ := set $journal "disk_bytes_max" (printf "%dMiB" (int64 $least)) -}}
{{- $_ := set $map "journal" $journal -}}
{{- end -}}
{{- if $v.broker.urls -}}
{{- $files := dict "credentials_file" $v.broker.credentialsKey "password_file" $v.broker.passwordKey "ca_file" $v.broker.caKey "cert_file" $v.broker.certKey "key_file" $v.broker.keyKey -}}
{{- $broker := merge (dict "urls" $v.broker.urls) (get $map "broker" | default dict) -}}
{{- range $key, $file := $files -}}
{{- if $file -}}{{- $_ := set $broker $key (printf "../broker/%s" $file) -}}{{- end -}}
{{- end -}}
{{- $_ := set $map "broker" $broker -}}
{{- end -}}
{{- if include "gavel.hasEvents" . -}}
{{- $keys := list -}}
{{- range $v.events.keys.list -}}
{{- $keys = append $keys (dict "id" .id "secret_file" (printf "../keys/%s" .key)) -}}
{{- end -}}
{{- $_ := set $map "events" (merge (dict "ack" (include "gavel.ack" .) "url" $v.events.url "keys" $keys) (get $map "events" | default dict)) -}}
{{- end -}}
{{- $map | toJson -}}
{{- end -}}

{{- define "gavel.checkEvents" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $storage := $v.workload.storage -}}
{{- $isStateful := eq $v.workload.kind "StatefulSet" -}}
{{- if and $isStateful (eq $storage.kind "emptyDir") -}}
{{- $faults = append $faults "workload.storage.kind: emptyDir in a StatefulSet: events that were acknowledged would go with the pod, and they are money; use persistentVolume, or a Deployment, whose events a broker acknowledges" -}}
{{- end -}}
{{- if and (not $isStateful) (eq $storage.kind "persistentVolume") -}}
{{- $faults = append $faults "workload.storage.kind: persistentVolume in a Deployment: its pods would share one volume or none; use `workload.kind: StatefulSet`" -}}
{{- end -}}
{{- $ack := include "gavel.ack" . -}}
{{- if and $v.events.url (not $isStateful) (eq $ack "local") -}}
{{- $faults = append $faults "events.ack: local in a Deployment: its pods have no disk but an emptyDir, and events that were acknowledged would go with the pod, and they are money; use `workload.kind: StatefulSet`, or `events.ack: broker`" -}}
{{- end -}}
{{- if and $v.events.url (eq $ack "broker") (not $v.broker.urls) -}}
{{- $faults = append $faults (printf "events.url in a %s whose events a broker acknowledges, and `broker.urls` names none: say where NATS is, or use `workload.kind: StatefulSet`, whose pods have disks" $v.workload.kind) -}}
{{- end -}}
{{- if and $v.broker.urls (not $v.events.url) -}}
{{- $faults = append $faults "broker.urls without `events.url`: no event is taken that could go to a broker; say where partners reach us" -}}
{{- end -}}
{{- $files := compact (list $v.broker.credentialsKey $v.broker.passwordKey $v.broker.caKey $v.broker.certKey $v.broker.keyKey) -}}
{{- if and $files (not $v.broker.secret) -}}
{{- $faults = append $faults (printf "broker.secret: empty, and %s should be in it; name the Secret" (join ", " $files)) -}}
{{- end -}}
{{- if and (not (include "gavel.hasJournal" .)) $v.settings.journal -}}
{{- $faults = append $faults "settings.journal in a Deployment without events: its pods have no disk that outlives them, and keep no journal; remove it, or use `workload.kind: StatefulSet`" -}}
{{- end -}}
{{- if and $storage.spillSize (not $isStateful) -}}
{{- $faults = append $faults "workload.storage.spillSize in a Deployment: its journal has nothing that must go on elsewhere; remove it, or use `workload.kind: StatefulSet`" -}}
{{- end -}}
{{- if not $isStateful -}}
{{- $empty := include "gavel.emptyDirMiB" . | int -}}
{{- if and (include "gavel.hasJournal" .) (lt $empty 256) -}}
{{- $faults = append $faults (printf "workload.storage.emptyDirMiB: %d hold no journal, which a broker that is slow or away needs; say 256 or more, or leave it out" $empty) -}}
{{- end -}}
{{- if lt (int $v.resources.ephemeralStorageMiB) (add $empty 64 | int) -}}
{{- $faults = append $faults (printf "resources.ephemeralStorageMiB: %d are less than the %d of `workload.storage.emptyDirMiB` and 64 for the log: the pod would be evicted; raise it" (int $v.resources.ephemeralStorageMiB) $empty) -}}
{{- end -}}
{{- end -}}
{{- if and (include "gavel.hasJournal" .) $isStateful -}}
{{- range $key := list "size" "spillSize" -}}
{{- $size := get $storage $key -}}
{{- if and $size (lt (include "gavel.journalMiB" (dict "root" $ "size" $size) | int64) 1024) -}}
{{- $faults = append $faults (printf "workload.storage.%s: %s leave less than 1 GiB for records, beside the ballast and an eighth for what else is there: a full journal ends auctions; ask for more" $key $size) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $keys := $v.events.keys -}}
{{- if and $v.events.url (not (and $keys.secret $keys.list)) -}}
{{- $faults = append $faults "events.url without `events.keys.secret` and `events.keys.list`: nothing could sign our URLs; name a Secret, and which of its keys sign" -}}
{{- end -}}
{{- if and (not $v.events.url) (or $keys.secret $keys.list) -}}
{{- $faults = append $faults "events.keys without `events.url`: no URL of ours would be signed, and no event be taken; say where partners reach us" -}}
{{- end -}}
{{- $ids := list -}}
{{- range $keys.list -}}
{{- if has (int .id) $ids -}}
{{- $faults = append $faults (printf "events.keys.list: the id %d stands there twice, and a token names its key by it; give each its own" (int .id)) -}}
{{- end -}}
{{- $ids = append $ids (int .id) -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end -}}
