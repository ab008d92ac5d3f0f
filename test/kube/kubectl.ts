import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { requireTool } from '../support/go-tools.ts';
import type { ApiServer } from './api-server.ts';
import { configMap, configMapPath, createNamespace } from './objects.ts';
import type { ScenarioContext } from './scenario.ts';

const NAMESPACE = 'kubectl';
const MANIFESTS_NAMESPACE = 'manifests';
const MANIFESTS = fileURLToPath(new URL('../../../docs/operations/kubernetes.yaml', import.meta.url));
/** Answers with a warning, here an error, what Kubernetes' strictest profile of pods does not allow. */
const RESTRICTED = 'pod-security.kubernetes.io/warn=restricted';
const TIMEOUT_MS = 30_000;

const execute = promisify(execFile);

/** One look from the outside: what is written over the REST API is what kubectl shows. */
export async function kubectlScenario(context: ScenarioContext): Promise<void> {
  const { apiServer, report } = context;
  const kubectl = await requireTool('kubectl');
  await report.step('kubectl shows the version, and a ConfigMap', async () => {
    await createNamespace(apiServer.client, NAMESPACE);
    await apiServer.client.expect('POST', configMapPath(NAMESPACE), configMap('seen', 'by kubectl'));
    const version = await run(kubectl, apiServer, 'version');
    const query = ['get', 'configmaps', '--namespace', NAMESPACE, '--output'];
    const shown = await run(
      kubectl,
      apiServer,
      ...query,
      'jsonpath={range .items[*]}{.metadata.name} {.data.content}{end}',
    );
    if (shown !== 'seen by kubectl') throw new Error(`kubectl get configmaps: ${shown}`);
    return version.match(/Server Version: \S+/)?.[0] ?? version;
  });
  await report.step(
    'docs/operations/kubernetes.yaml is accepted, with every field and as restricted pods',
    async () => {
      await createNamespace(apiServer.client, MANIFESTS_NAMESPACE);
      const namespace = ['--namespace', MANIFESTS_NAMESPACE];
      await run(kubectl, apiServer, 'label', 'namespace', MANIFESTS_NAMESPACE, RESTRICTED);
      const strictly = ['--validate=strict', '--warnings-as-errors', '--filename', MANIFESTS];
      const applied = await run(kubectl, apiServer, 'apply', ...namespace, ...strictly);
      return applied.replaceAll('\n', ', ');
    },
  );
}

async function run(kubectl: string, apiServer: ApiServer, ...words: string[]): Promise<string> {
  const access = ['--server', apiServer.url, '--token', apiServer.token, '--insecure-skip-tls-verify'];
  // No configuration and no cache of the user who runs the tests.
  const own = ['--kubeconfig', '/dev/null', '--cache-dir', '/dev/null'];
  const { stdout } = await execute(kubectl, [...access, ...own, ...words], { timeout: TIMEOUT_MS });
  return stdout.trim();
}
