// Reads a JSON list of custom resources, writes for each "ok" or what is wrong.
// Owns: which validator is whose. A kind without one is a fault, so that none slips through.
import { readFileSync } from "node:fs";

const MODELS = {
  "argoproj.io/v1alpha1 Rollout": "argo-rollouts/argoproj.io/v1alpha1/Rollout",
  "argoproj.io/v1alpha1 AnalysisTemplate": "argo-rollouts/argoproj.io/v1alpha1/AnalysisTemplate",
  "argoproj.io/v1alpha1 Application": "argo-cd/argoproj.io/v1alpha1/Application",
  "gateway.networking.k8s.io/v1 HTTPRoute": "gateway-api/gateway.networking.k8s.io/v1/HTTPRoute",
  "karpenter.sh/v1 NodePool": "karpenter/karpenter.sh/v1/NodePool",
  "karpenter.k8s.aws/v1 EC2NodeClass": "karpenter/karpenter.k8s.aws/v1/EC2NodeClass",
  "keda.sh/v1alpha1 ScaledObject": "keda/keda.sh/v1alpha1/ScaledObject",
  "monitoring.coreos.com/v1 ServiceMonitor": "prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
  "monitoring.coreos.com/v1 PrometheusRule": "prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
};

const verdicts = [];
for (const thing of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${thing.apiVersion} ${thing.kind}`;
  if (!MODELS[name]) {
    verdicts.push(`no validator for ${name}`);
    continue;
  }
  const module = await import(`@kubernetes-models/${MODELS[name]}`).catch((fault) => ({ fault }));
  if (module.fault) {
    verdicts.push(`validator of ${name} cannot be loaded: ${module.fault.message}`);
    continue;
  }
  try {
    new module[thing.kind](thing).validate();
    verdicts.push("ok");
  } catch (fault) {
    verdicts.push(String(fault.message));
  }
}
process.stdout.write(JSON.stringify(verdicts));
