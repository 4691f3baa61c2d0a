// Builds a project with the engine, and in the order, of the balena CLI.
//
//   node build.js --docker <socket> --as <build|push|device>
//                 [--registry-secrets <file>] <project>
//
// The steps are those of the CLI's src/utils/compose_ts.ts. What `--as` says is where
// it hands over the secrets: `balena build` and `balena deploy` to each task, `balena
// push <fleet>` to the cloud builder, inside of the source, and `balena push <device>`
// to the device's engine, in its own way.
'use strict';

const { readdir, readFile } = require('node:fs/promises');
const { join, relative } = require('node:path');
const { createInterface } = require('node:readline');
const { PassThrough } = require('node:stream');
const { parseArgs } = require('node:util');

const multibuild = require('@balena/compose/dist/multibuild');
const compose = require('@balena/compose/dist/parse');
const Docker = require('dockerode');
const yaml = require('js-yaml');
const tar = require('tar-stream');
const { cloneTarStream } = require('tar-utils');

const ARCHITECTURE = 'aarch64';
const DEVICE_TYPE = 'raspberrypi4-64';
const PROJECT_NAME = 'project';

async function readSecrets(file) {
	const raw = await readFile(file, 'utf8');
	const secrets = new multibuild.RegistrySecretValidator().validateRegistrySecrets(
		/\.ya?ml$/i.test(file) ? yaml.load(raw) : JSON.parse(raw),
	);
	multibuild.addCanonicalDockerHubEntry(secrets);
	return secrets;
}

async function packProject(folder, secrets) {
	const pack = tar.pack();
	const found = await readdir(folder, { recursive: true, withFileTypes: true });
	for (const entry of found.filter((one) => one.isFile())) {
		const path = join(entry.parentPath ?? entry.path, entry.name);
		pack.entry({ name: relative(folder, path) }, await readFile(path));
	}
	if (Object.keys(secrets).length > 0) {
		pack.entry({ name: '.balena/registry-secrets.json' }, JSON.stringify(secrets));
	}
	pack.finalize();
	return pack;
}

// Finds the Dockerfile of each service, and fills in its template.
async function resolve(tasks) {
	const failed = new Promise((_, reject) => {
		multibuild.performResolution(
			tasks,
			ARCHITECTURE,
			DEVICE_TYPE,
			{ error: [reject] },
			{ BALENA_RELEASE_HASH: 'unavailable', BALENA_APP_NAME: PROJECT_NAME },
		);
	});
	const done = async () => {
		for (const task of tasks.filter((one) => one.buildStream)) {
			task.buildStream = await cloneTarStream(task.buildStream);
		}
	};
	await Promise.race([failed, done()]);
}

function setOptions(task, way, secrets) {
	task.tag ??= `${PROJECT_NAME}_${task.serviceName}`;
	task.dockerOpts = { ...task.dockerOpts, t: task.tag };
	if (way === 'device' && task.external) {
		const login = multibuild.getAuthConfigObj(task.imageName, secrets);
		task.dockerOpts.authconfig = login;
	} else if (way !== 'push') {
		task.dockerOpts.registryconfig = secrets;
	}
}

function follow(task) {
	const say = (line) => console.log(`[Build]   ${task.serviceName} ${line}`);
	if (task.external) {
		task.progressHook = ({ status }) => status && say(status);
	} else {
		task.streamHook = (stream) => {
			// A pipe passes no error on, and performBuilds reports that anyway.
			const input = stream.pipe(new PassThrough());
			createInterface({ input }).on('line', say);
		};
	}
}

async function main() {
	const { values, positionals } = parseArgs({
		allowPositionals: true,
		options: {
			docker: { type: 'string' },
			as: { type: 'string' },
			'registry-secrets': { type: 'string' },
		},
	});
	const [project] = positionals;
	const file = values['registry-secrets'];
	const secrets = file ? await readSecrets(file) : {};
	const composition = compose.normalize(
		yaml.load(await readFile(join(project, 'docker-compose.yml'), 'utf8')),
	);
	const source = await packProject(project, values.as === 'push' ? secrets : {});
	const tasks = await multibuild.splitBuildStream(composition, source);
	await resolve(tasks);
	for (const task of tasks) {
		setOptions(task, values.as, secrets);
		follow(task);
	}
	const docker = new Docker({ socketPath: values.docker });
	for (const image of await multibuild.performBuilds(tasks, docker, '/tmp')) {
		if (image.successful) {
			console.log(`${image.serviceName} is ${image.name}`);
		} else {
			console.log(`${image.serviceName} failed: ${image.error.message}`);
			process.exitCode = 1;
		}
	}
}

main().catch((error) => {
	console.log(error.message);
	process.exitCode = 1;
});
