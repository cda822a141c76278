// Runs a command in a container: node run.mjs PROTO_DIR IMAGE [COMMAND...]
// The .proto files are read as they are; there is no generated code.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import protobuf from 'protobufjs';

const [protos, image, ...command] = process.argv.slice(2);
if (!image) {
  console.error('usage: node run.mjs PROTO_DIR IMAGE [COMMAND...]');
  process.exit(125);
}
const host = process.env.ARGOSY_HOST ?? 'unix:///run/argosy/argosy.sock';

const definition = loader.loadSync('argosy/v1/containers.proto', { includeDirs: [protos], keepCase: true, oneofs: true });
const { argosy } = grpc.loadPackageDefinition(definition);
const containers = new argosy.v1.Containers(host.replace('unix://', 'unix:'), grpc.credentials.createInsecure());

const call = (method, request) =>
  new Promise((resolve, reject) => {
    containers[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });

// Joined before it starts, so that not a byte is missed. Ctrl-C ends the wait, and the container goes.
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
    process.once('SIGINT', () => {
      resolve(130);
      stream.cancel();
    });
    stream.write({ start: { container, start: true } });
  });
}

// The word for programs: nobody has to look into a message's text.
function reason(error) {
  const { root } = protobuf.parse(`syntax = "proto3"; package google.rpc;
    message Status { repeated Any details = 3; }
    message Any { string type_url = 1; bytes value = 2; }
    message ErrorInfo { string reason = 1; }`);
  const [status] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = status ? root.lookupType('google.rpc.Status').decode(status).details : [];
  const info = details.find((detail) => detail.typeUrl.endsWith('/google.rpc.ErrorInfo'));
  return info ? root.lookupType('google.rpc.ErrorInfo').decode(info.value).reason : grpc.status[error.code];
}

try {
  const { id } = await call('Create', { spec: { image, command } });
  try {
    process.exitCode = await attached(id);
  } finally {
    await call('Remove', { container: id, force: true });
  }
} catch (error) {
  console.error(`${reason(error)}: ${error.details}`);
  process.exitCode = 125;
}
