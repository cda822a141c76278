// Runs a command in a container: node run.mjs PROTO_DIR IMAGE [COMMAND...]
// The .proto files are read as they are; there is no generated code.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [protos, image, ...command] = process.argv.slice(2);
const host = process.env.ARGOSY_HOST ?? 'unix:///run/argosy/argosy.sock';

const definition = loader.loadSync('argosy/v1/containers.proto', { includeDirs: [protos], keepCase: true, oneofs: true });
const { argosy } = grpc.loadPackageDefinition(definition);
const containers = new argosy.v1.Containers(host.replace('unix://', 'unix:'), grpc.credentials.createInsecure());

const call = (method, request) =>
  new Promise((resolve, reject) => {
    containers[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });

// Joined before it starts, so that not a byte is missed.
function attached(container) {
  return new Promise((resolve, reject) => {
    const stream = containers.Attach();
    let code;
    stream.on('data', (message) => {
      if (message.stdout) process.stdout.write(message.stdout);
      if (message.stderr) process.stderr.write(message.stderr);
      if (message.exit) code = message.exit.code;
    });
    stream.on('error', reject);
    stream.on('end', () => resolve(code));
    stream.write({ start: { container, start: true } });
  });
}

try {
  const { id } = await call('Create', { spec: { image, command } });
  try {
    process.exitCode = await attached(id);
  } finally {
    await call('Remove', { container: id, force: true });
  }
} catch (error) {
  // The whole google.rpc.ErrorInfo, with the object's kind and id, is in 'grpc-status-details-bin'.
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 125;
}
