// Starts an MCP server of the registry: its file, then its own arguments.
process.argv.splice(1, 1);
await import(process.argv[1]);
