// Prints a composition as the balena CLI reads it, or what is wrong with it.
//
//   node parse.js <docker-compose.yml>
'use strict';

const { readFileSync } = require('node:fs');
const compose = require('@balena/compose/dist/parse');
const yaml = require('js-yaml');

try {
	const composition = compose.normalize(
		yaml.load(readFileSync(process.argv[2], 'utf8')),
	);
	console.log(
		JSON.stringify({
			...composition,
			images: compose.parse(composition).map((one) => one.image),
		}),
	);
} catch (error) {
	console.log(error.message);
	process.exitCode = 1;
}
