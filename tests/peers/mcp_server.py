"""Starts an MCP server of the registry: the folder of its packages, its module, then its own arguments."""
import runpy
import sys

sys.path.insert(0, sys.argv[1])
module = sys.argv[2]
sys.argv[:3] = [module]
runpy.run_module(module, run_name="__main__", alter_sys=True)
