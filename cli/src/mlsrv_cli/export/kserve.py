"""KServe: the InferenceService of an image with models."""

from __future__ import annotations

from mlsrv_cli.export.service import Service


def inference_service(service: Service) -> str:
    """Return the text of an InferenceService whose container has the models."""
    port, scheme = service.ports["http"], service.scheme.upper()
    variables = {
        "MLSRV_HTTP_PORT": str(port),
        "MLSRV_GRPC_PORT": str(service.ports["grpc"]),
        "MLSRV_METRICS_PORT": str(service.ports["metrics"]),
    } | service.variables
    env = "\n".join(f'          - {{name: {name}, value: "{value}"}}' for name, value in variables.items())
    return f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: "{service.name}"
  annotations:
    prometheus.kserve.io/port: "{service.ports["metrics"]}"
    prometheus.kserve.io/path: /metrics
spec:
  predictor:
    terminationGracePeriodSeconds: {service.grace}
    containers:
      - name: kserve-container
        image: "{service.image}"
        env:
{env}
        ports:
          - {{containerPort: {port}, protocol: TCP}}
        readinessProbe:
          httpGet: {{path: /v2/health/ready, port: {port}, scheme: {scheme}}}
          periodSeconds: 5
          timeoutSeconds: 3
        livenessProbe:
          httpGet: {{path: /v2/health/live, port: {port}, scheme: {scheme}}}
          periodSeconds: 10
          timeoutSeconds: 3
          failureThreshold: 6
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          runAsNonRoot: true
          capabilities:
            drop: [ALL]
        resources:
          requests: {{cpu: "1", memory: 1Gi}}
          limits: {{memory: 2Gi}}
        volumeMounts:
          - {{name: tmp, mountPath: /tmp}}
    volumes:
      - name: tmp
        emptyDir: {{}}
"""
