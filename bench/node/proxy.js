'use strict';

// A plain reverse proxy in front of one server, on a port of loopback; with a
// certificate and its key it speaks TLS. It changes nothing, and keeps its connections.

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { createProxyMiddleware } = require('http-proxy-middleware');

const [target, port, certificate, key] = process.argv.slice(2);
const { Agent } = target.startsWith('https:') ? https : http;

const proxy = createProxyMiddleware({
	target,
	agent: new Agent({ keepAlive: true }),
});
const server = certificate
	? https.createServer(
			{ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) },
			proxy,
		)
	: http.createServer(proxy);
server.listen(Number(port), '127.0.0.1');
