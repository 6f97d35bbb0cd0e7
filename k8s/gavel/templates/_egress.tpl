{{/*
Owns: where pods may call: names, and anything but where the cloud keeps its credentials.
*/}}

{{- define "gavel.egress" -}}
# names: the cluster's server, or the node's cache
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    - ipBlock:
        cidr: 169.254.20.10/32
# bidders, anywhere but where the cloud keeps its credentials
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          {{- toYaml .Values.networkPolicy.egressExcept | nindent 10 }}
    - ipBlock:
        cidr: ::/0
        except:
          {{- toYaml .Values.networkPolicy.egressExceptIpv6 | nindent 10 }}
{{- end -}}
