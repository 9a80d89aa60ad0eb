for v in "" 1; do for r in 1; do
echo "THR=$v"; THR=$v TREE=/tmp/w/mem/t OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 MPLBACKEND=Agg PYTHONPATH=/tmp/w/mem/t /work/main/.venv/bin/python /tmp/w/mem/go.py None 100 2>&1 | grep "^s \|[Ee]rror\|Trace\|/geneml_bio/__"
done; done
echo serial; TREE=/tmp/w/mem/t OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 MPLBACKEND=Agg PYTHONPATH=/tmp/w/mem/t /work/main/.venv/bin/python /tmp/w/mem/go.py 1 100 2>&1 | grep "^s \|[Ee]rror\|Trace"
