// A client in another language: the .proto files read as they are, no generated code.
// Usage: node client.mjs PROTO_DIR SOCKET IMAGE; prints one JSON object.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [protos, socket, image] = process.argv.slice(2);
const definition = loader.loadSync(
  ['system', 'images', 'containers'].map((name) => `argosy/v1/${name}.proto`),
  { includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true },
);
const { argosy } = grpc.loadPackageDefinition(definition);
const connect = (Service) => new Service(`unix:${socket}`, grpc.credentials.createInsecure());
const system = connect(argosy.v1.System);
const images = connect(argosy.v1.Images);
const containers = connect(argosy.v1.Containers);

const call = (client, method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, (error, answer) => (error ? reject(error) : resolve(answer))));
const collect = (stream, take) =>
  new Promise((resolve, reject) => {
    const found = [];
    stream.on('data', (message) => found.push(...take(message)));
    stream.on('error', reject);
    stream.on('end', () => resolve(found));
  });

const result = {};
result.version = (await call(system, 'Version', {})).api;
result.images = (await call(images, 'List', {})).images.flatMap((i) => i.repo_tags);

const spec = { image, network_mode: 'none', command: ['sh', '-c', 'read line; echo "got $line"; exit 5'],
  open_stdin: true, stdin_once: true };
const { id } = await call(containers, 'Create', { name: 'from-node', spec });
const attach = containers.Attach();
const output = collect(attach, (m) => [m]);
attach.write({ start: { container: id, stdin: true, start: true } });
attach.write({ stdin: Buffer.from('hello\n') });
attach.write({ close_stdin: true });
const messages = await output;
result.stdout = Buffer.concat(messages.map((m) => m.stdout ?? Buffer.alloc(0))).toString();
result.code = messages.find((m) => m.exit)?.exit.code;
const entries = await collect(containers.Logs({ container: id }), (m) => m.entries);
result.logs = Buffer.concat(entries.map((e) => e.data)).toString();
await call(containers, 'Remove', { container: id });

try {
  await call(containers, 'Inspect', { container: 'nobody' });
} catch (error) {
  result.error = { code: grpc.status[error.code], details: error.details,
    has_info: error.metadata.get('grpc-status-details-bin')[0]?.includes('ErrorInfo') ?? false };
}
console.log(JSON.stringify(result));
